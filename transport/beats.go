package transport

import (
	"context"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/scheduler"
	"github.com/rota-scheduler/rota/task"
)

// maxRunningTasks bounds the running tasks that a beat names: a worker has no more slots.
const maxRunningTasks = task.MaxSlots

// heartbeat is a beat on its way to its answer.
type heartbeat struct {
	seq     uint64
	running []scheduler.Running
}

// beat takes a beat. A beat that extends the lease of exclusive tasks counts only after a Barrier: a leader
// that was deposed and does not know it yet must not extend that lease. If more beats come while one waits, only
// the newest counts, because it extends the lease the most.
func (s *Server) beat(ctx context.Context, out *sendStream, b *rotav1.Beat) error {
	if len(b.Running) > maxRunningTasks {
		return task.Errorf(task.KindTooLarge, "a beat tells of %d running tasks, a worker has at most %d slots", len(b.Running), maxRunningTasks)
	}
	h := &heartbeat{seq: b.Seq}
	// A task that this session does not hold is not kept: thousands of workers may each name thousands of them.
	s.node.State().Machine().Holds(out.session, func(holds func(job uint64, i uint32) bool) {
		for _, r := range b.Running {
			if holds(r.GetJobId(), r.GetIndex()) {
				h.running = append(h.running, scheduler.Running{Job: r.GetJobId(), Index: r.GetIndex(), For: r.GetRunTime().AsDuration()})
			}
		}
	})
	// A worker that takes no more tasks must not wait for a Barrier to be believed.
	s.node.Fleet().Heard(out.session, out, conditionOf(b.State))
	if !b.Exclusive {
		s.renew(out, h)
	} else if out.await(h) {
		s.begun.Go(func() { s.confirm(ctx, out) })
	}
	return nil
}

// conditionOf is what a worker says about itself, within bounds.
func conditionOf(s *rotav1.WorkerState) scheduler.Condition {
	return scheduler.Condition{Unhealthy: cutString(s.GetUnhealthy(), task.MaxHealth), Draining: s.GetDraining()}
}

// confirm renews the lease for the beats that wait for a Barrier, until none does.
func (s *Server) confirm(ctx context.Context, out *sendStream) {
	for h := out.awaited(); h != nil; h = out.awaited() {
		err := s.node.Barrier(ctx)
		switch {
		case err == nil:
			s.renew(out, h)
		case s.node.CheckLeader() != nil || ctx.Err() != nil:
			out.cancel()
			return
		}
		// Otherwise the log was busy for too long. This beat renews nothing; the next one may.
	}
}

// renew renews the lease of a session and has the beat answered.
func (s *Server) renew(out *sendStream, h *heartbeat) {
	switch fleet := s.node.Fleet(); {
	case fleet.Beat(out.session, out, h.running):
		out.beaten(h.seq)
	case fleet.Shunned(out.session):
		// No answer. The stream stays open for the report of the task for which the session is shunned.
	default:
		out.outlived()
	}
}

// await notes a beat that waits for a Barrier, in place of an earlier one. begin says that nobody asks for a
// Barrier yet.
func (out *sendStream) await(h *heartbeat) (begin bool) {
	out.mu.Lock()
	defer out.mu.Unlock()
	begin = !out.confirming
	out.waiting, out.confirming = h, true
	return begin
}

// awaited takes the beat that waits for a Barrier. nil: no beat waits, and nobody asks for a Barrier any more.
func (out *sendStream) awaited() (h *heartbeat) {
	out.mu.Lock()
	defer out.mu.Unlock()
	h, out.waiting = out.waiting, nil
	out.confirming = h != nil
	return h
}

// beaten has a beat answered before anything else is sent. If several wait for their answers, only the newest gets
// one. A worker that has read no answer for a whole lease loses its stream: otherwise messages for it would gather
// here for as long as tasks are granted and taken off again. Workers have done that.
func (out *sendStream) beaten(seq uint64) {
	out.mu.Lock()
	if !out.renewed {
		out.waits = time.Now()
	}
	out.renewed, out.beat = true, max(out.beat, seq)
	unread := time.Since(out.waits) > out.server.node.Fleet().Lease()
	out.mu.Unlock()
	if unread {
		out.cancel()
		return
	}
	out.signal()
}

// stopsPerLease is how often within a lease, at most, an answer to a beat lists all tasks that the worker must
// stop. The list takes a look at everything that the worker holds, and nothing is applied meanwhile. A worker
// beats at most ten times within a lease. It is also told of each stop at once.
const stopsPerLease = 100

// answerBeat sends the answer to the newest beat. It lists all tasks that the worker must stop, unless the
// worker was told just before.
func (out *sendStream) answerBeat(seq uint64) error {
	answer := &rotav1.BeatAnswer{Seq: seq, Term: out.term}
	if now := time.Now(); now.Sub(out.stopsTold) >= out.server.node.Fleet().Lease()/stopsPerLease {
		out.stopsTold = now
		out.server.node.State().Machine().Held(out.session, func(t fsm.HeldTask) {
			if t.Stopping {
				answer.Stop = append(answer.Stop, heldOf(t.Job, t.TokenOffset, task.Range{First: t.First, Count: t.Count}))
			}
		})
	}
	return out.stream.Send(&rotav1.SessionResponse{Message: &rotav1.SessionResponse_BeatAnswer{BeatAnswer: answer}})
}
