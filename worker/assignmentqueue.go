package worker

import (
	"sync/atomic"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/report"
)

// assignmentQueue is assignments in order of arrival.
type assignmentQueue struct {
	list []*assignment
	// taken is how many at the front of list have no task left.
	taken int
	// tasks is how many tasks wait. Reading it needs no lock.
	tasks atomic.Int64
}

// head is the first assignment; nil: there is none.
func (q *assignmentQueue) head() *assignment {
	if q.taken == len(q.list) {
		return nil
	}
	return q.list[q.taken]
}

func (q *assignmentQueue) push(a *assignment) {
	q.list = append(q.list, a)
	q.tasks.Add(int64(a.len()))
}

// take removes the first task and fills r with it.
func (q *assignmentQueue) take(r *run) {
	head := q.head()
	head.take(r)
	q.tasks.Add(-1)
	if head.len() == 0 {
		q.pop()
	}
}

// pop removes the first assignment.
func (q *assignmentQueue) pop() {
	q.list[q.taken] = nil
	q.taken++
	switch {
	case q.taken == len(q.list):
		q.list, q.taken = q.list[:0], 0
	case q.taken > 1024 && q.taken > len(q.list)/2:
		// A queue that never runs empty must not grow for ever.
		n := copy(q.list, q.list[q.taken:])
		clear(q.list[n:])
		q.list, q.taken = q.list[:n], 0
	}
}

// filter keeps the assignments for which keep returns true.
func (q *assignmentQueue) filter(keep func(*assignment) bool) {
	var kept []*assignment
	for _, a := range q.list[q.taken:] {
		if keep(a) {
			kept = append(kept, a)
		} else {
			q.tasks.Add(-int64(a.len()))
		}
	}
	q.list, q.taken = kept, 0
}

// keepFirst keeps the first n tasks and returns the others.
func (q *assignmentQueue) keepFirst(n int) (gone []*assignment) {
	var kept []*assignment
	for _, a := range q.list[q.taken:] {
		switch {
		case n == 0:
			gone = append(gone, a)
		case a.len() > n:
			middle := a.next + uint32(n)
			gone = append(gone, a.part(task.RangeTo(middle, a.end)))
			kept = append(kept, a.part(task.RangeTo(a.next, middle)))
			n = 0
		default:
			kept = append(kept, a)
			n -= a.len()
		}
	}
	for _, a := range gone {
		q.tasks.Add(-int64(a.len()))
	}
	if len(gone) > 0 {
		q.list, q.taken = kept, 0
	}
	return gone
}

// remove takes out the wanted tasks of a grant, and returns which ones were there.
func (q *assignmentQueue) remove(g report.Grant, wanted *task.RangeSet) (gone []task.Range) {
	var kept []*assignment
	for _, a := range q.list[q.taken:] {
		if a.grant != g {
			kept = append(kept, a)
			continue
		}
		for r, in := range wanted.Parts(a.tasks()) {
			if in {
				gone = append(gone, r)
				q.tasks.Add(-int64(r.Count))
			} else {
				kept = append(kept, a.part(r))
			}
		}
	}
	if len(gone) > 0 {
		q.list, q.taken = kept, 0
	}
	return gone
}
