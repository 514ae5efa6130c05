package fsm

import (
	"iter"

	"github.com/rota-scheduler/rota/task"
)

// Untouched tasks are granted in index order, so one number says which of a million they are: the frontier. No task from
// there on was ever granted. A job may also have several runs of tasks, each with a frontier of its own, so that each
// worker can have a run. The first run begins with the first task, and its frontier is job.next. A run ends where
// the next one begins. The last run ends with the job, and grows with it.
//
// So far each job has one run. An op that makes more must also store where they begin. Their frontiers need not be
// stored, because they follow from the states of the tasks.

// run is a run of tasks behind the first one.
type run struct {
	// first is where it begins, next its frontier.
	first, next uint32
}

// moreRuns is the runs behind the first one, in order.
func (j *job) moreRuns() []run {
	if j.rare == nil {
		return nil
	}
	return j.rare.runs
}

// frontier returns the frontier of the run that has task i, to be changed, and the end of that run.
func (j *job) frontier(i uint32) (next *uint32, end uint32) {
	if j.rare == nil {
		return &j.next, j.total
	}
	return j.frontierOf(i)
}

// frontierOf is frontier where there may be more runs than one.
func (j *job) frontierOf(i uint32) (next *uint32, end uint32) {
	runs := j.moreRuns()
	next, end = &j.next, j.total
	for k := range runs {
		if i < runs[k].first {
			return next, runs[k].first
		}
		next = &runs[k].next
	}
	return next, end
}

// beyond says whether a task lies beyond the frontier of its run, or at it: none of those was ever granted.
func (j *job) beyond(i uint32) bool {
	next, _ := j.frontier(i)
	return i >= *next
}

// atFrontier says whether untouched task i may be granted: it is the next one of its run.
func (j *job) atFrontier(i uint32) bool {
	next, _ := j.frontier(i)
	return i == *next
}

// passed moves the frontier beyond task i, which was granted.
func (j *job) passed(i uint32) {
	if next, end := j.frontier(i); i == *next {
		*next++
		j.advance(next, end)
	}
}

// skipped moves the frontier beyond task i if it was ended before it was granted, and others after it.
func (j *job) skipped(i uint32) { j.advance(j.frontier(i)) }

// advanceAll does so wherever tasks may have been ended.
func (j *job) advanceAll() {
	first := uint32(0)
	for _, r := range j.moreRuns() {
		j.skipped(first)
		first = r.first
	}
	j.skipped(first)
}

// advance moves a frontier past tasks that were ended before they were granted, up to the end of its run.
func (j *job) advance(next *uint32, end uint32) {
	for *next < end {
		n, k := *next/pageSize, *next%pageSize
		p := j.page(n)
		switch {
		case p == nil:
			return
		case p == donePage || p.final == j.pageTasks(n):
			*next = min(end, (n+1)*pageSize)
		case int(k) >= len(p.slots) || p.slots[k].state == 0:
			return
		default:
			*next++
		}
	}
}

// ahead yields the ranges beyond the frontiers. No task in them was ever granted, but single tasks may have been
// cancelled.
func (j *job) ahead() iter.Seq[task.Range] {
	return func(yield func(task.Range) bool) {
		next := j.next
		for _, r := range j.moreRuns() {
			if next < r.first && !yield(task.RangeTo(next, r.first)) {
				return
			}
			next = r.next
		}
		if next < j.total {
			yield(task.RangeTo(next, j.total))
		}
	}
}

// aheadCount is how many tasks ahead yields.
func (j *job) aheadCount() uint32 {
	n, next := uint32(0), j.next
	for _, r := range j.moreRuns() {
		n += r.first - next
		next = r.next
	}
	return n + j.total - next
}
