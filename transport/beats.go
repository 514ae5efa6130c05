package transport

import (
	"context"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/scheduler"
	"github.com/rota-scheduler/rota/task"
)

// maxRunningTasks bounds the tasks of which a beat says that they run: a worker has no more
// slots.
const maxRunningTasks = task.MaxSlots

// heartbeat is a beat on its way to its answer.
type heartbeat struct {
	seq     uint64
	running []scheduler.Running
}

// beat takes a beat. One that extends the lease of exclusive tasks counts only after a Barrier:
// a leader that was deposed without knowing must not extend it. Those that come while one waits
// make up for it and each other: the newest is the one that extends the lease the most.
func (s *Server) beat(ctx context.Context, l *link, b *rotav1.Beat) error {
	if len(b.Running) > maxRunningTasks {
		return task.Errorf(task.KindTooLarge, "a beat tells of %d running tasks, a worker has at most %d slots", len(b.Running), maxRunningTasks)
	}
	h := &heartbeat{seq: b.Seq}
	// What others hold, or nobody, is not kept: thousands of workers may say thousands of such.
	s.node.State().Machine().Holds(l.session, func(holds func(job uint64, i uint32) bool) {
		for _, r := range b.Running {
			if holds(r.GetJobId(), r.GetIndex()) {
				h.running = append(h.running, scheduler.Running{Job: r.GetJobId(), Index: r.GetIndex(), For: r.GetRunTime().AsDuration()})
			}
		}
	})
	// A worker that takes no more tasks must not wait for a Barrier to be believed.
	s.node.Fleet().Heard(l.session, l, conditionOf(b.State))
	if !b.Exclusive {
		s.renew(l, h)
	} else if l.await(h) {
		s.begun.Go(func() { s.confirm(ctx, l) })
	}
	return nil
}

// conditionOf is what a worker says of itself, within bounds.
func conditionOf(s *rotav1.WorkerState) scheduler.Condition {
	return scheduler.Condition{Unhealthy: cutString(s.GetUnhealthy(), task.MaxHealth), Draining: s.GetDraining()}
}

// confirm renews the lease for the beats that wait for a Barrier, until none does.
func (s *Server) confirm(ctx context.Context, l *link) {
	for h := l.awaited(); h != nil; h = l.awaited() {
		err := s.node.Barrier(ctx)
		switch {
		case err == nil:
			s.renew(l, h)
		case s.node.CheckLeader() != nil || ctx.Err() != nil:
			l.cancel()
			return
		}
		// Otherwise the log was busy for too long: this beat renews nothing, the next one may.
	}
}

// renew renews the lease of a link's session, and has the beat answered.
func (s *Server) renew(l *link, h *heartbeat) {
	switch fleet := s.node.Fleet(); {
	case fleet.Beat(l.session, l, h.running):
		l.beaten(h.seq)
	case fleet.Shunned(l.session):
		// It is not answered. The stream is there for the report of what the session is shunned for.
	default:
		l.outlived()
	}
}

// await notes a beat that waits for a Barrier, instead of an earlier one. begin says that
// nobody asks for one yet.
func (l *link) await(h *heartbeat) (begin bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	begin = !l.confirming
	l.waiting, l.confirming = h, true
	return begin
}

// awaited takes the beat that waits for a Barrier; nil: none does, and nobody asks any more.
func (l *link) awaited() (h *heartbeat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, l.waiting = l.waiting, nil
	l.confirming = h != nil
	return h
}

// beaten has a beat answered, before all else. Of those that nobody has read the answer to,
// only the newest gets one. Who reads none for a whole lease is given up: what is to be sent gathers
// here, for as long as tasks are granted and taken off again. A worker has done so before.
func (l *link) beaten(seq uint64) {
	l.mu.Lock()
	if !l.renewed {
		l.waits = time.Now()
	}
	l.renewed, l.beat = true, max(l.beat, seq)
	unread := time.Since(l.waits) > l.s.node.Fleet().Lease()
	l.mu.Unlock()
	if unread {
		l.cancel()
		return
	}
	l.signal()
}

// stopsPerLease is how often within a lease, at most, the answers to a worker's beats have all that it
// must stop: that takes a look at everything that it holds, while nothing is applied. A worker
// beats ten times within a lease at most; it is told of each stop at once besides.
const stopsPerLease = 100

// answerBeat sends the answer to the newest beat, with all that its worker must stop where it was
// not told so just before.
func (l *link) answerBeat(seq uint64) error {
	answer := &rotav1.BeatAnswer{Seq: seq, Term: l.term}
	if now := time.Now(); now.Sub(l.stopsTold) >= l.s.node.Fleet().Lease()/stopsPerLease {
		l.stopsTold = now
		l.s.node.State().Machine().Held(l.session, func(t fsm.HeldTask) {
			if t.Stopping {
				answer.Stop = append(answer.Stop, heldOf(t.Job, t.TokenOffset, task.Range{First: t.First, Count: t.Count}))
			}
		})
	}
	return l.stream.Send(&rotav1.SessionResponse{Message: &rotav1.SessionResponse_BeatAnswer{BeatAnswer: answer}})
}
