package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

type sessionStream = grpc.BidiStreamingClient[rotav1.SessionRequest, rotav1.SessionResponse]

var (
	errNoWelcome = errors.New("the server did not answer the hello in time")
	errSilent    = errors.New("the server did not answer a beat in time")
	errOldTerm   = errors.New("the server speaks for an outdated term")
	errProtocol  = errors.New("the server broke the protocol")
)

// attach opens a stream to one server and serves it until it ends. welcomed says
// that the server took it as the leader does.
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
	w.link.trying(addr, cut)
	defer w.link.detached()

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
	w.link.attached(addr, welcome.GetTerm())
	return true, w.serve(ctx, cut, stream)
}

// causeOf is why a context ended, or else err.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// greet says hello and waits for the welcome.
func (w *Worker) greet(stream sessionStream) (*rotav1.Welcome, error) {
	hello := &rotav1.Hello{
		WorkerId:  w.id.id,
		Name:      w.cfg.Name,
		BootNonce: w.id.nonce,
		SessionId: w.id.session,
		Replaces:  w.id.replaces,
		// Without it, anybody could say so.
		ReplacesNonce: w.id.replacesNonce,
		Slots:         uint32(w.cfg.Slots),
		Labels:        w.cfg.Labels,
		Handlers:      slices.Sorted(maps.Keys(w.cfg.Handlers)),
		Commands:      w.cfg.Commands,
		Queues:        w.cfg.Queues,
		// Between streams nothing arrives and nothing is answered, so this stays true
		// until Welcome, whatever completes meanwhile.
		Held:    w.board.heldTasks(),
		Term:    w.lease.highest(),
		Version: w.cfg.Version,
		// What is kept is kept for a stream: it begins anew with each.
		WorkSlots: workSlots, WorkBytes: workBytes,
		State: w.state(),
	}
	// When Send fails, Recv has the server's reason.
	sendErr := stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: hello}})
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
			// The session works without it; only the next process will have to wait for
			// the lease of this one.
			w.log.Error("cannot keep the session's id", "error", err)
		}
	}
	w.board.drop(m.GetDrop())
	w.lease.welcome(length, helloSent, m.GetAttached())
	w.fenceGuard()
	w.out.rewind()
	w.log.Info("session open", "addr", addr, "leader", m.GetLeaderId(), "term", m.GetTerm(),
		"session", m.GetSessionId(), "lease", length, "attached", m.GetAttached(), "dropped", len(m.GetDrop()))
	return nil
}

// serve reads from and writes to the stream until it ends.
func (w *Worker) serve(ctx context.Context, cut context.CancelCauseFunc, stream sessionStream) error {
	w.works = works{}
	silence := newWatchdog(func() { cut(errSilent) })
	defer silence.disarm()
	var writer sync.WaitGroup
	writer.Go(func() {
		// Where the stream has ended, the reader learns the server's reason.
		if err := w.write(ctx, stream, silence); err != nil && !errors.Is(err, io.EOF) {
			cut(err)
		}
	})
	err := w.read(stream, silence)
	err = causeOf(ctx, err)
	cut(nil)
	writer.Wait()
	return err
}

// write sends beats when they are due, reports when they may go, and the goodbye.
func (w *Worker) write(ctx context.Context, stream sessionStream, silence *watchdog) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	goodbye := w.goodbye
	for {
		if wait := w.nextBeat(); wait > 0 {
			timer.Reset(wait)
		} else {
			if err := w.sendBeat(stream, silence); err != nil {
				return err
			}
			continue
		}
		if hold := w.out.hold(w.board.reserve()); hold > 0 {
			timer.Reset(min(hold, w.nextBeat()))
		} else if m := w.out.next(); m != nil {
			if err := stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Reports{Reports: m}}); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-w.out.ready:
		case <-w.beatSoon:
		case <-goodbye:
			goodbye = nil
			if err := stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Goodbye{Goodbye: &rotav1.Goodbye{Unstarted: w.settled.Load()}}}); err != nil {
				return err
			}
			w.said.Store(true)
		}
	}
}

// nextBeat is how long until a beat is due.
func (w *Worker) nextBeat() time.Duration {
	if w.lapse.Load() {
		return time.Hour
	}
	if w.state() != w.told {
		return 0
	}
	return w.lease.due(w.board.exclusivesHeld() > 0)
}

func (w *Worker) sendBeat(stream sessionStream, silence *watchdog) error {
	exclusive := w.board.exclusivesHeld() > 0
	w.told = w.state()
	beat := &rotav1.Beat{Seq: w.lease.beat(exclusive), Exclusive: exclusive, Running: w.board.runningTasks(), State: w.told}
	// A Send that blocks is silence as well, so the watchdog is armed before it.
	silence.arm(w.lease.silence())
	if len(beat.Running) > 0 {
		w.noteKills()
	}
	return stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Beat{Beat: beat}})
}

// read does what the leader says.
func (w *Worker) read(stream sessionStream, silence *watchdog) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := w.handle(m, silence); err != nil {
			return err
		}
	}
}

// handle does what one message says.
func (w *Worker) handle(m *rotav1.SessionResponse, silence *watchdog) error {
	switch m := m.GetMessage().(type) {
	case *rotav1.SessionResponse_Assignments:
		if err := w.assigned(m.Assignments); err != nil {
			return err
		}
	case *rotav1.SessionResponse_ReportsAnswer:
		w.reportsAnswered(m.ReportsAnswer)
	case *rotav1.SessionResponse_BeatAnswer:
		if err := w.beatAnswered(m.BeatAnswer, silence); err != nil {
			return err
		}
	case *rotav1.SessionResponse_Stop:
		w.board.stop(m.Stop.GetTasks())
	case *rotav1.SessionResponse_GoodbyeAnswer:
		w.leave()
	case *rotav1.SessionResponse_Welcome:
		return fmt.Errorf("%w: it said welcome twice", errProtocol)
	}
	// Anything else is of a newer server, which does not rely on its being known.
	if w.board.overfull() {
		return fmt.Errorf("%w: it gave more than %d tasks", errProtocol, maxHeld)
	}
	return nil
}

func (w *Worker) assigned(m *rotav1.Assignments) error {
	if err := w.works.forget(m.GetForgetWorks()); err != nil {
		return err
	}
	spans := make([]*span, 0, len(m.GetAssignments()))
	for _, a := range m.GetAssignments() {
		spec, err := w.works.of(a)
		if err != nil {
			return err
		}
		s, err := spanOf(a, spec)
		if err == nil {
			spans = append(spans, s)
			continue
		}
		w.log.Error("an assignment is malformed", "job", a.GetJobId(), "error", err)
		if r, ok := rangeOf(a.GetRange()); ok {
			w.board.refuse(key{a.GetJobId(), a.GetTokenOffset()}, r, &result{kind: failed, err: errorText(err.Error())})
		}
	}
	w.board.assign(spans)
	return nil
}

func (w *Worker) reportsAnswered(m *rotav1.ReportsAnswer) {
	for _, e := range m.GetExceptions() {
		w.log.Debug("a report was not recorded", "task", task.ID{Job: e.GetJobId(), Index: e.GetIndex()},
			"count", max(1, e.GetCount()), "token", e.GetToken(), "verdict", e.GetVerdict())
	}
	w.board.answered(w.out.settle(m.GetSeq()))
	if w.out.empty() {
		notify(w.flushed)
	}
}

func (w *Worker) beatAnswered(m *rotav1.BeatAnswer, silence *watchdog) error {
	// A leader of another term is another leader, which welcomes first.
	if welcomed := w.link.streamTerm(); m.GetTerm() > welcomed {
		return fmt.Errorf("%w: it answers a beat in term %d and has welcomed in %d", errProtocol, m.GetTerm(), welcomed)
	}
	current, renewed := w.lease.acknowledge(m.GetSeq(), m.GetTerm())
	if !current {
		return fmt.Errorf("%w: %d, where %d was seen", errOldTerm, m.GetTerm(), w.lease.highest())
	}
	if w.lease.unanswered() {
		silence.rearm(w.lease.silence())
	} else {
		silence.disarm()
	}
	if renewed {
		w.fenceGuard()
		w.board.recheck()
	}
	w.board.stop(m.GetStop())
	return nil
}

// watchdog calls bark when it was armed and nobody disarmed it in time.
type watchdog struct {
	mu    sync.Mutex
	bark  func()
	timer *time.Timer
}

func newWatchdog(bark func()) *watchdog { return &watchdog{bark: bark} }

// arm starts the time, unless it runs already.
func (d *watchdog) arm(after time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer == nil {
		d.timer = time.AfterFunc(after, d.bark)
	}
}

// rearm starts the time anew.
func (d *watchdog) rearm(after time.Duration) {
	d.disarm()
	d.arm(after)
}

func (d *watchdog) disarm() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
