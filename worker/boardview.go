package worker

import (
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

// What the rest of the worker asks the board about.

// runs is how many tasks run, and how many of them are exclusive.
func (b *board) runs() (all, exclusive int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.slots {
		if s.current != nil {
			all++
			if s.current.work.Exclusive {
				exclusive++
			}
		}
	}
	return all, exclusive
}

// exclusivesHeld is how many exclusive tasks wait or run.
func (b *board) exclusivesHeld() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.exclusives
}

// heldTasks is everything held, for a Hello.
func (b *board) heldTasks() []*rotav1.HeldTasks {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]*rotav1.HeldTasks, 0, len(b.held))
	for k, s := range b.held {
		if !s.empty() {
			out = append(out, &rotav1.HeldTasks{JobId: k.job, TokenOffset: k.offset, Ranges: wireRanges(s.ranges)})
		}
	}
	return out
}

// runningTasks is what the slots run now, for a Beat.
func (b *board) runningTasks() []*rotav1.RunningTask {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []*rotav1.RunningTask
	now := monoNow()
	for _, s := range b.slots {
		if r := s.current; r != nil {
			out = append(out, &rotav1.RunningTask{
				JobId: r.task.Job, Index: r.task.Index, RunTime: durationpb.New(now - r.started),
			})
		}
	}
	return out
}
