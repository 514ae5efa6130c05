package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/worker/report"
)

var (
	errSilent   = errors.New("the server did not answer a beat in time")
	errOldTerm  = errors.New("the server speaks for an outdated term")
	errProtocol = errors.New("the server broke the protocol")
)

// serve reads from and writes to the stream until it ends.
func (w *Worker) serve(ctx context.Context, cut context.CancelCauseFunc, stream rotav1.WorkerService_SessionClient) error {
	w.works = keptWorks{}
	silence := newWatchdog(func() { cut(errSilent) })
	defer silence.disarm()
	var writer sync.WaitGroup
	writer.Go(func() {
		// If the stream has ended, the reader learns the server's reason.
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
func (w *Worker) write(ctx context.Context, stream rotav1.WorkerService_SessionClient, silence *watchdog) error {
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
		if wait := w.out.Hold(w.held.reserve()); wait > 0 {
			timer.Reset(min(wait, w.nextBeat()))
		} else if m := w.out.Next(); m != nil {
			if err := stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Reports{Reports: m}}); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-w.out.Ready():
		case <-w.beatSoon:
		case <-goodbye:
			goodbye = nil
			if err := w.sendGoodbye(stream); err != nil {
				return err
			}
		}
	}
}

func (w *Worker) sendGoodbye(stream rotav1.WorkerService_SessionClient) error {
	m := &rotav1.Goodbye{Unstarted: w.settled.Load()}
	if err := stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Goodbye{Goodbye: m}}); err != nil {
		return err
	}
	w.said.Store(true)
	return nil
}

// nextBeat is how long it is until a beat is due.
func (w *Worker) nextBeat() time.Duration {
	if w.lapse.Load() {
		return time.Hour
	}
	if w.state() != w.told {
		return 0
	}
	return w.lease.due(w.held.exclusivesHeld() > 0)
}

func (w *Worker) sendBeat(stream rotav1.WorkerService_SessionClient, silence *watchdog) error {
	exclusive := w.held.exclusivesHeld() > 0
	w.told = w.state()
	beat := &rotav1.Beat{Seq: w.lease.beat(exclusive), Exclusive: exclusive, Running: w.held.running(), State: w.told}
	// A Send that blocks is silence as well, so the watchdog is armed before it.
	silence.arm(w.lease.silence())
	if len(beat.Running) > 0 {
		w.noteKills()
	}
	return stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Beat{Beat: beat}})
}

// read does what the leader says, until the stream ends.
func (w *Worker) read(stream rotav1.WorkerService_SessionClient, silence *watchdog) error {
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
		w.held.stop(m.Stop.GetTasks())
	case *rotav1.SessionResponse_GoodbyeAnswer:
		w.leave()
	case *rotav1.SessionResponse_CallLogs:
		w.logStreams.call(m.CallLogs.GetAddr())
	case *rotav1.SessionResponse_Welcome:
		return fmt.Errorf("%w: it said welcome twice", errProtocol)
	}
	// Any other message comes from a newer server, which does not rely on the worker to know it.
	if w.held.tooMany() {
		return fmt.Errorf("%w: it gave more than %d tasks", errProtocol, maxHeld)
	}
	return nil
}

func (w *Worker) assigned(m *rotav1.Assignments) error {
	if err := w.works.forget(m.GetForgetWorks()); err != nil {
		return err
	}
	list := make([]*assignment, 0, len(m.GetAssignments()))
	for _, p := range m.GetAssignments() {
		spec, err := w.works.of(p)
		if err != nil {
			return err
		}
		a, err := assignmentOf(p, spec)
		if err == nil {
			list = append(list, a)
			continue
		}
		w.log.Error("an assignment is malformed", "job", p.GetJobId(), "error", err)
		if r := wire.RangeFromProto(p.GetRange()); r.Valid() {
			w.held.refuse(grantOf(p), r, &report.Result{Kind: report.Failed, Err: report.ErrorText(err.Error())})
		}
	}
	w.held.assign(list)
	return nil
}

func (w *Worker) reportsAnswered(m *rotav1.ReportsAnswer) {
	for _, e := range m.GetExceptions() {
		w.log.Debug("a report was not recorded", "task", task.ID{Job: e.GetJobId(), Index: e.GetIndex()},
			"count", max(1, e.GetCount()), "token", e.GetToken(), "verdict", e.GetVerdict())
	}
	w.held.answered(w.out.Settle(m.GetSeq()))
	if w.out.Empty() {
		notify(w.flushed)
	}
}

func (w *Worker) beatAnswered(m *rotav1.BeatAnswer, silence *watchdog) error {
	// A leader of another term is another leader, which sends a welcome first.
	if welcomed := w.stream.welcomeTerm(); m.GetTerm() > welcomed {
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
		w.held.recheck()
	}
	w.held.stop(m.GetStop())
	return nil
}
