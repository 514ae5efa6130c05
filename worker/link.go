package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/leader"
)

const (
	// attachTimeout is how long one attempt may take until Welcome: a new session
	// needs a log entry, a server that is cut off answers never.
	attachTimeout = 2 * time.Second
	// maxRedirects is how many hints in a row are followed without a wait. Servers
	// that disagree about the leader must not be asked in a tight loop.
	maxRedirects = 3
	// maxUnready is how often in a row a leader that is not ready yet is asked again after
	// a short wait, which grows by unreadyPause each time.
	maxUnready   = 10
	unreadyPause = 5 * time.Millisecond
	// maxRetryAfter bounds the wait that a server can ask for.
	maxRetryAfter = 5 * time.Second
	// doubtAfter is how long a worker is without a leader before it asks whether it waits for
	// one that there cannot be. It doubles each time, up to doubtMost: an outage should not
	// have thousands of workers ask.
	doubtAfter = 2 * time.Second
	doubtMost  = 30 * time.Second
)

var (
	errAbsurdTerm = errors.New("the server speaks for a term that no majority of the servers has reached")
	errRefuted    = errors.New("no majority of the servers has reached the term that the server speaks for")
)

// link is the stream of the session: where it is, and where to open the next one.
type link struct {
	finder *leader.Finder
	// news has an element when a leader was announced.
	news chan struct{}

	mu sync.Mutex
	// hint is where to go next; empty: the next one in turn.
	hint string
	// addr is where the session is, or was last. target is where a stream is open or
	// being opened, with its term once that is known, and cut ends it; nil: there is
	// none.
	addr, target string
	term         uint64
	cut          context.CancelCauseFunc
}

func newLink(finder *leader.Finder) *link {
	return &link{finder: finder, news: make(chan struct{}, 1)}
}

// next is the address to try next.
func (l *link) next() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hint != "" {
		addr := l.hint
		l.hint = ""
		return addr
	}
	return l.finder.Next()
}

// point says where the leader is said to be.
func (l *link) point(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hint = addr
	l.finder.Learn(addr)
}

// trying takes note that a stream is being opened.
func (l *link) trying(addr string, cut context.CancelCauseFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target, l.term, l.cut = addr, 0, cut
}

// attached takes note that the stream is open.
func (l *link) attached(addr string, term uint64) {
	l.mu.Lock()
	l.addr, l.term = addr, term
	l.mu.Unlock()
	l.finder.Learn(addr)
	l.finder.Moved()
}

// detached takes note that the stream has ended.
func (l *link) detached() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = nil
}

// current is the address that the session uses, or used last.
func (l *link) current() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addr
}

var errNewLeader = errors.New("another server has become leader")

// announced ends the stream to a deposed leader, or an attempt to open one to
// another server, and points to the new leader.
func (l *link) announced(term uint64, addr string) {
	l.mu.Lock()
	if l.cut != nil && (l.term >= term || l.term == 0 && l.target == addr) {
		l.mu.Unlock()
		return
	}
	l.hint = addr
	if l.cut != nil {
		l.cut(errNewLeader)
	}
	l.mu.Unlock()
	notify(l.news)
}

// streamTerm is the term in which the open stream was welcomed.
func (l *link) streamTerm() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term
}

// refute ends the stream to a server that speaks for a term which is higher than what the
// others have reached.
func (l *link) refute(reached uint64) {
	l.mu.Lock()
	if l.cut != nil && l.term > reached {
		l.cut(errRefuted)
	}
	l.mu.Unlock()
	notify(l.news)
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// keepAttached holds a session until ctx ends. It returns an error only where
// trying again is hopeless.
func (w *Worker) keepAttached(ctx context.Context) error {
	var back leader.Backoff
	redirects, refusals, unready := 0, 0, 0
	welcomedOnce := false
	lastWarning := time.Duration(-1 << 62)
	attached, doubtful := monoNow(), doubtAfter
	var doubts sync.WaitGroup
	defer doubts.Wait()
	for {
		addr := w.link.next()
		began := monoNow()
		welcomed, err := w.attach(ctx, addr)
		err = wire.FromStatus(err)
		if ctx.Err() != nil || w.hasLeft() {
			w.log.Debug("the session's stream ended for good", "addr", addr, "error", err)
			break
		}
		if welcomed {
			welcomedOnce = true
			redirects, unready = 0, 0
			attached, doubtful = monoNow(), doubtAfter
			if monoNow()-began > leader.BackoffMost {
				// Streams that end as soon as they are open must not be opened in a loop.
				back.Reset()
			}
			w.log.Info("the session's stream ended", "addr", addr, "error", err)
		}
		if errors.Is(err, errOldTerm) || monoNow()-attached > doubtful {
			attached, doubtful = monoNow(), min(2*doubtful, doubtMost)
			doubts.Go(func() { _ = w.finder.Doubt(ctx) })
		}
		if errors.Is(err, task.ErrOtherCluster) && !w.finder.Agreed() {
			if err := w.finder.SameCluster(ctx); err != nil {
				return err
			}
			continue
		}
		// One address may be that of something else; all of them are not by accident.
		if kind := task.KindOf(err); !welcomed && (kind == task.KindInvalid || kind == task.KindTooLarge) {
			refusals++
		} else {
			refusals = 0
		}
		if !welcomedOnce && refusals >= len(w.cfg.Addrs) {
			return err
		}
		var e *task.Error
		if errors.As(err, &e) && e.Leader != "" && e.Leader != addr && redirects < maxRedirects {
			redirects++
			w.link.point(e.Leader)
			continue
		}
		redirects = 0
		if e != nil && e.Leader == addr && unready < maxUnready {
			// It leads and is not ready yet, which is a matter of milliseconds mostly. The
			// others would send us back, and the one that led before may be silent for ever.
			unready++
			w.link.point(addr)
			if !w.pause(ctx, time.Duration(unready)*unreadyPause) {
				break
			}
			continue
		}
		unready = 0
		if now := monoNow(); !welcomed && now-lastWarning > warnEvery {
			lastWarning = now
			w.log.Warn("no session with the leader yet, still trying", "addr", addr, "error", err)
		}
		wait := back.Next()
		if e != nil {
			wait = max(wait, min(e.RetryAfter, maxRetryAfter))
		}
		if !w.pause(ctx, wait) {
			break
		}
	}
	return nil
}

// warnEvery is how often failing attempts are logged.
const warnEvery = 10 * time.Second

// pause waits, but not beyond the announcement of a leader.
func (w *Worker) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.link.news:
		return true
	case <-ctx.Done():
		return false
	}
}
