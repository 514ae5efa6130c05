package fsm

import (
	"math"
	"slices"

	"github.com/rota-scheduler/rota/task"
)

const (
	// maxShownQueues bounds the queues that metrics show by name, each with a time series for each state. What comes
	// beyond them is shown together, until one of them has no jobs any more.
	maxShownQueues = 256
	// maxPriorities bounds the priorities of a queue among whose oldest jobs the oldest one is looked for.
	maxPriorities = 64
)

// QueueStat is what metrics show of a queue.
type QueueStat struct {
	// Name is "" for all queues together that are not shown by name.
	Name string
	// Tasks is the tasks of jobs that have not ended, by task.State, but for those with outcomes.
	Tasks [task.NumStates]uint64
	// OldestNs is since when the oldest job waits of which a task can be granted, Unix ns: since its submit, or since the start of a delayed
	// one. 0: none waits, or the queue is not shown by name.
	OldestNs int64
}

// QueueStats returns them, and how many queues with jobs there are.
func (m *Machine) QueueStats() (stats []QueueStat, queues int) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, q := range m.shown {
		stats = append(stats, QueueStat{Name: q.name, Tasks: q.tasks, OldestNs: q.oldest()})
	}
	if len(m.queues) > len(m.shown) {
		stats = append(stats, QueueStat{Tasks: m.unshown})
	}
	return stats, len(m.queues)
}

// oldest is since when the oldest job in line waits, among those of maxPriorities priorities of each class; 0: none does.
func (q *queue) oldest() (ns int64) {
	for _, c := range q.ready {
		pivot := place{math.MaxInt32, &job{}}
		for range maxPriorities {
			var first *job
			c.line.Ascend(pivot, func(p place) bool { first = p.job; return false })
			if first == nil {
				break
			}
			if since := max(first.submitted, first.notBefore); ns == 0 || since < ns {
				ns = since
			}
			pivot = place{first.spec.Priority, &job{id: math.MaxUint64}} // behind all others of this priority
		}
	}
	return ns
}

// count adds the tasks of j that have no outcome to those of its queue, or takes them out.
func (m *Machine) count(j *job, add bool) {
	q := j.spec.class.queue
	for s := task.Blocked; s <= task.Stopping; s++ {
		n := uint64(j.counts[s])
		if !add {
			n = -n
		}
		q.tasks[s] += n
		if !q.shown {
			m.unshown[s] += n
		}
	}
}

// show has a new queue shown by name, if there is room.
func (m *Machine) show(q *queue) {
	if q.shown = len(m.shown) < maxShownQueues; q.shown {
		m.shown = append(m.shown, q)
	}
}

// hide takes a queue out that has no jobs any more.
func (m *Machine) hide(q *queue) {
	if i := slices.Index(m.shown, q); i >= 0 {
		m.shown = slices.Delete(m.shown, i, i+1)
	}
}
