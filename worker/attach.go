package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/leader"
)

const (
	// attachTimeout is how long one attempt to attach may take until the welcome: a new session needs
	// a log entry, and a server that is cut off never answers.
	attachTimeout = 2 * time.Second
	// maxRedirects is how many hints in a row the worker follows without a wait. Servers that
	// disagree about the leader must not be asked in a tight loop.
	maxRedirects = 3
	// maxUnready is how often in a row the worker asks a leader again that is not ready yet. The wait
	// before that grows by unreadyPause each time.
	maxUnready   = 10
	unreadyPause = 5 * time.Millisecond
	// maxRetryAfter bounds the wait that a server can ask for.
	maxRetryAfter = 5 * time.Second
	// doubtAfter is how long a worker is without a leader before it asks whether the leader that it
	// waits for can exist. It doubles each time, up to doubtMost: thousands of workers must not ask
	// all the time during an outage.
	doubtAfter = 2 * time.Second
	doubtMost  = 30 * time.Second
	// warnEvery is how often the log has a line about attempts that fail.
	warnEvery = 10 * time.Second
)

var (
	errNoWelcome  = errors.New("the server did not answer the hello in time")
	errAbsurdTerm = errors.New("the server speaks for a term that no majority of the servers has reached")
)

// attachLoop is what keepAttached knows of its attempts to attach.
type attachLoop struct {
	w    *Worker
	back leader.Backoff
	// redirects, refusals and unready are how many of each came in a row.
	redirects, refusals, unready int
	// everWelcomed says that a leader has accepted this worker before.
	everWelcomed bool
	// warned is when the log last had a line, on monoNow.
	warned time.Duration
	// since is since when there is no session, on monoNow, and doubtAt how long that may go on until
	// the next doubt.
	since, doubtAt time.Duration
	doubts         sync.WaitGroup
}

// keepAttached holds a session until ctx ends. It returns an error only if trying again is hopeless.
func (w *Worker) keepAttached(ctx context.Context) error {
	a := attachLoop{w: w, warned: -1 << 62, since: monoNow(), doubtAt: doubtAfter}
	defer a.doubts.Wait()
	for {
		addr := w.stream.next()
		began := monoNow()
		welcomed, err := w.attach(ctx, addr)
		err = wire.FromStatus(err)
		if ctx.Err() != nil || w.hasLeft() {
			w.log.Debug("the session's stream ended for good", "addr", addr, "error", err)
			return nil
		}
		if welcomed {
			a.welcomed(began)
			w.log.Info("the session's stream ended", "addr", addr, "error", err)
		}
		a.doubt(ctx, err)
		if errors.Is(err, task.ErrOtherCluster) && !w.finder.Agreed() {
			if err := w.finder.SameCluster(ctx); err != nil {
				return err
			}
			continue
		}
		if a.hopeless(welcomed, err) {
			return err
		}
		wait, atOnce := a.nextTry(addr, welcomed, err)
		if !atOnce && !w.pause(ctx, wait) {
			return nil
		}
	}
}

// welcomed notes that the last attempt, which began at a time, has led to a session.
func (a *attachLoop) welcomed(began time.Duration) {
	a.everWelcomed = true
	a.redirects, a.unready = 0, 0
	a.since, a.doubtAt = monoNow(), doubtAfter
	if monoNow()-began > leader.BackoffMost {
		// Streams that end as soon as they are open must not be opened in a loop.
		a.back.Reset()
	}
}

// doubt asks in the background whether the leader that the worker waits for can exist, if it has
// waited for long.
func (a *attachLoop) doubt(ctx context.Context, err error) {
	if errors.Is(err, errOldTerm) || monoNow()-a.since > a.doubtAt {
		a.since, a.doubtAt = monoNow(), min(2*a.doubtAt, doubtMost)
		a.doubts.Go(func() { _ = a.w.finder.Doubt(ctx) })
	}
}

// hopeless says that no server will ever accept this worker. One address may be that of something
// else; if all of them refuse, that is no accident.
func (a *attachLoop) hopeless(welcomed bool, err error) bool {
	switch kind := task.KindOf(err); {
	case !welcomed && (kind == task.KindInvalid || kind == task.KindTooLarge || kind == task.KindUnauthenticated || kind == task.KindDenied):
		a.refusals++
	default:
		a.refusals = 0
	}
	return !a.everWelcomed && a.refusals >= len(a.w.finder.Given())
}

// nextTry returns how long to wait before the next attempt, or atOnce if there is no need to.
func (a *attachLoop) nextTry(addr string, welcomed bool, err error) (wait time.Duration, atOnce bool) {
	var e *task.Error
	if errors.As(err, &e) && e.Leader != "" && e.Leader != addr && a.redirects < maxRedirects {
		a.redirects++
		a.w.stream.tryNext(e.Leader)
		return 0, true
	}
	a.redirects = 0
	if e != nil && e.Leader == addr && a.unready < maxUnready {
		// It leads and is not ready yet, which mostly takes milliseconds. The other servers would
		// send the worker back here, and the leader before may be silent for ever.
		a.unready++
		a.w.stream.tryNext(addr)
		return time.Duration(a.unready) * unreadyPause, false
	}
	a.unready = 0
	if now := monoNow(); !welcomed && now-a.warned > warnEvery {
		a.warned = now
		a.w.log.Warn("no session with the leader yet, still trying", "addr", addr, "error", err)
	}
	wait = a.back.Next()
	if e != nil {
		wait = max(wait, min(e.RetryAfter, maxRetryAfter))
	}
	return wait, false
}

// pause waits, but not beyond the announcement of a leader. It is false when ctx has ended.
func (w *Worker) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.stream.news:
		return true
	case <-ctx.Done():
		return false
	}
}

// attach opens a stream to one server and serves it until it ends. welcomed says that the server
// accepted this worker as its leader.
func (w *Worker) attach(ctx context.Context, addr string) (welcomed bool, err error) {
	conn, err := w.cfg.Dial(addr)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	impatience := time.AfterFunc(attachTimeout, func() { cut(errNoWelcome) })
	defer impatience.Stop()
	w.stream.opening(addr, cut)
	defer w.stream.ended()

	stream, err := rotav1.NewWorkerServiceClient(conn).Session(w.finder.Naming(ctx))
	if err != nil {
		return false, causeOf(ctx, err)
	}
	helloSent := bootNow()
	welcome, err := w.greet(stream)
	if err != nil {
		return false, causeOf(ctx, err)
	}
	if !impatience.Stop() {
		return false, errNoWelcome
	}
	if !w.finder.Believable(ctx, welcome.GetTerm()) {
		return false, fmt.Errorf("%w: %d", errAbsurdTerm, welcome.GetTerm())
	}
	if err := w.welcomed(addr, welcome, helloSent); err != nil {
		return false, err
	}
	w.finder.Agree()
	w.stream.opened(addr, welcome.GetTerm())
	return true, w.serve(ctx, cut, stream)
}

// causeOf is why a context ended, or else err.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// greet sends the hello and waits for the welcome.
func (w *Worker) greet(stream rotav1.WorkerService_SessionClient) (*rotav1.Welcome, error) {
	// If Send fails, Recv returns the server's reason.
	sendErr := stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: w.hello()}})
	m, err := stream.Recv()
	switch {
	case err != nil:
		return nil, err
	case sendErr != nil:
		return nil, sendErr
	case m.GetWelcome() == nil:
		return nil, fmt.Errorf("%w: its first message is not a welcome", errProtocol)
	}
	return m.GetWelcome(), nil
}

// hello is what a server must know of this worker.
func (w *Worker) hello() *rotav1.Hello {
	return &rotav1.Hello{
		WorkerId:  w.id.id,
		Name:      w.cfg.Name,
		BootNonce: w.id.nonce,
		SessionId: w.id.session,
		Replaces:  w.id.replaces,
		// It proves that the session was this worker's.
		ReplacesNonce: w.id.replacesNonce,
		Slots:         uint32(w.cfg.Slots),
		Labels:        w.cfg.Labels,
		Handlers:      slices.Sorted(maps.Keys(w.cfg.Handlers)),
		Commands:      w.cfg.Commands,
		Queues:        w.cfg.Queues,
		// Between streams nothing arrives and nothing is answered, so this stays true until the
		// welcome, whatever completes meanwhile.
		Held:    w.held.all(),
		Term:    w.lease.highest(),
		Version: w.cfg.Version,
		// What a server has the worker keep is kept for one stream only.
		WorkSlots: workSlots, WorkBytes: workBytes,
		State: w.state(),
		Logs:  true,
	}
}

// welcomed takes over what the leader says about the session.
func (w *Worker) welcomed(addr string, m *rotav1.Welcome, helloSent time.Duration) error {
	length := m.GetLease().AsDuration()
	if m.GetSessionId() == 0 || length <= 0 {
		return fmt.Errorf("%w: its welcome has no session or no lease", errProtocol)
	}
	if !w.lease.observe(m.GetTerm()) {
		return fmt.Errorf("%w: %d, where %d was seen", errOldTerm, m.GetTerm(), w.lease.highest())
	}
	if m.GetSessionId() != w.id.session {
		if err := w.id.opened(m.GetSessionId()); err != nil {
			// The session works without it. Only the next process will have to wait for the lease of
			// this one.
			w.log.Error("cannot keep the session's id", "error", err)
		}
	}
	w.held.drop(m.GetDrop())
	w.lease.welcome(length, helloSent, m.GetAttached())
	w.fenceGuard()
	w.out.Rewind()
	w.log.Info("session open", "addr", addr, "leader", m.GetLeaderId(), "term", m.GetTerm(),
		"session", m.GetSessionId(), "lease", length, "attached", m.GetAttached(), "dropped", len(m.GetDrop()))
	return nil
}
