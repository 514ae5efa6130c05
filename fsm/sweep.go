package fsm

import "github.com/rota-scheduler/rota/task"

// A job that is cancelled, or expires, may have a million tasks that wait, and others that run. What Apply does for one
// entry is bounded. So a sweep goes through the tasks page by page, from the first on, over as many entries as it
// takes. From the first of these entries on, the job counts as cancelled and none of its tasks is granted. Each of the
// others is an Expire: a job that is being swept is due, so the leader proposes one Expire after another, and the
// entries of all other work come between them. How far the sweep has come is replicated, so the next leader goes on.

// maxSwept bounds what one entry sweeps: the pages, and the tasks that are ended or stopped by
// themselves. That takes about 2 ms of Apply.
const maxSwept = 4096

// sweepBudget is how much an op with a step may sweep.
func (m *Machine) sweepBudget(step uint32) int {
	if step == 0 || int(step) > m.rules.maxSwept {
		return m.rules.maxSwept
	}
	return int(step)
}

// beginSweep begins to end all tasks of j that wait and, if j is cancelled, to stop those that are held.
func (m *Machine) beginSweep(j *job) {
	m.touch(j)
	// All that waits is to end: nothing of it is taken out of line one by one.
	j.returned = nil
	j.sweep = 1
}

// sweepsOver says whether a sweep of j has yet to come to task i.
func (j *job) sweepsOver(i uint32) bool { return j.sweep != 0 && i/pageSize >= j.sweep-1 }

// sweep goes on with the sweep of j, if there is one, as far as budget reaches. It must not depend on which pages of j
// are in memory, because that differs between servers.
func (m *Machine) sweep(j *job, budget *int) {
	if j.sweep == 0 {
		return
	}
	m.touch(j)
	w := &segmentWriter{m: m, j: j}
	for ; j.sweep <= j.pageCount() && *budget > 0; j.sweep++ {
		*budget -= 1 + m.sweepPage(j, j.sweep-1, w)
	}
	if j.sweep > j.pageCount() {
		j.sweep = 0
	}
	w.close()
	j.advanceAll()
}

// sweepPage sweeps page n, and returns how many of its tasks it changed by themselves.
func (m *Machine) sweepPage(j *job, n uint32, w *segmentWriter) (changed int) {
	reason := j.cancelReason
	if reason == 0 {
		reason = task.ReasonExpired
	}
	p, lo := j.page(n), n*pageSize
	hi := min(lo+pageSize, j.total)
	switch {
	case p == nil:
		m.endUntouched(j, task.RangeTo(lo, hi), reason, w)
		return 0
	case p == donePage || p.final == j.pageTasks(n):
		return 0
	}
	for i := lo; i < hi; i++ {
		s, _ := j.slot(i)
		switch state := j.stateOf(s); {
		case state.Final(), state == task.Stopping:
		case state == task.Assigned && j.cancelReason == 0: // it has started in time
		default:
			m.cancelTask(j, i, reason, w)
			changed++
		}
	}
	return changed
}

// endedPageBytes is what a page of tasks that were ended together counts for until it is on disk. It
// is smaller, but to write it takes as long as a KiB. All that may wait for the disk takes about a second.
const endedPageBytes = 1 << 10

// endUntouched cancels a whole page of untouched tasks. It needs no slots: the page
// is done as soon as its segment is on disk.
func (m *Machine) endUntouched(j *job, r task.Range, reason task.Reason, w *segmentWriter) {
	j.counts[j.base] -= r.Count
	j.counts[task.Cancelled] += r.Count
	w.addUntouched(r, task.Cancelled, reason)
	j.sum += rangeHash(r, j.received, task.Cancelled, reason)
	p := &page{alike: &slot{state: task.Cancelled, reason: reason, at: int64(j.received)}, final: int(r.Count), dirty: true}
	j.received += r.Count
	j.setPage(r.First/pageSize, p)
	m.dirtyBytes += endedPageBytes
	j.dirtyPages = append(j.dirtyPages, r.First/pageSize)
	if j.reason == 0 {
		j.reason = reason
	}
}
