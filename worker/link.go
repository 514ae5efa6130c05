package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// backoffBase and backoffMax bound the wait between attempts to attach. The wait
	// ends early when a leader is announced.
	backoffBase = 20 * time.Millisecond
	backoffMax  = time.Second
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
	// maxKnown bounds the addresses that are learnt beside the configured ones.
	maxKnown = 16
)

// link knows where the servers are and which of them leads.
type link struct {
	// news has an element when a leader was announced.
	news chan struct{}
	// moved has an element when a session was attached: the watch may be in its way.
	moved chan struct{}

	// configured is the addresses that this worker was given.
	configured []string

	mu sync.Mutex
	// known is those, and the ones that were learnt: the servers that one named last, and
	// leaders that were pointed at since.
	known []string
	turn  int
	// hint is where to go next; empty: the next one in turn.
	hint string
	// addr is where the session is, or was last. target is where a stream is open or
	// being opened, with its term once that is known, and cut ends it; nil: there is
	// none.
	addr, target string
	term         uint64
	cut          context.CancelCauseFunc
}

func newLink(addrs []string) *link {
	return &link{
		news: make(chan struct{}, 1), moved: make(chan struct{}, 1),
		configured: slices.Clone(addrs), known: slices.Clone(addrs),
		// Workers that start together must not all ask the same server first.
		turn: rand.IntN(len(addrs)),
	}
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
	l.turn++
	return l.known[l.turn%len(l.known)]
}

// point says where the leader is said to be.
func (l *link) point(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hint = addr
	l.learn(addr)
}

func (l *link) learn(addr string) {
	if len(l.known) < len(l.configured)+maxKnown && !slices.Contains(l.known, addr) {
		l.known = append(l.known, addr)
	}
}

// other is an address for the watch, which must not share the fate of the session:
// any but the one that the session uses. Empty: there is no other.
func (l *link) other() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var others []string
	for _, a := range l.known {
		if a != l.addr {
			others = append(others, a)
		}
	}
	if len(others) == 0 {
		return ""
	}
	return others[rand.IntN(len(others))]
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
	l.learn(addr)
	l.mu.Unlock()
	notify(l.moved)
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

// heard takes note of the servers that there are, in the place of those that there were: what
// one has said by mistake is gone when the next one says otherwise.
func (l *link) heard(addrs []string) {
	if len(addrs) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known = slices.Clone(l.configured)
	for _, addr := range addrs {
		l.learn(addr)
	}
}

// announced ends the stream to a deposed leader, or an attempt to open one to
// another server, and points to the new leader.
func (l *link) announced(term uint64, addr string) {
	l.mu.Lock()
	if l.cut != nil && (l.term >= term || l.term == 0 && l.target == addr) {
		l.mu.Unlock()
		return
	}
	l.hint = addr
	l.learn(addr)
	if l.cut != nil {
		l.cut(errNewLeader)
	}
	l.mu.Unlock()
	notify(l.news)
}

// all is every address that is known.
func (l *link) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.known)
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
	var back backoff
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
			if monoNow()-began > backoffMax {
				// Streams that end as soon as they are open must not be opened in a loop.
				back.reset()
			}
			w.log.Info("the session's stream ended", "addr", addr, "error", err)
		}
		if errors.Is(err, errOldTerm) || monoNow()-attached > doubtful {
			attached, doubtful = monoNow(), min(2*doubtful, doubtMost)
			doubts.Go(func() { _ = w.doubt(ctx) })
		}
		if errors.Is(err, task.ErrOtherCluster) && !w.agreed {
			if err := w.sameCluster(ctx); err != nil {
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
		wait := back.next()
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

// backoff is growing waits with jitter.
type backoff struct{ last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(backoffMax, max(backoffBase, 2*b.last))
	return b.last/2 + rand.N(b.last/2+1)
}

func (b *backoff) reset() { b.last = 0 }
