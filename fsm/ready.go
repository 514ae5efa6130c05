package fsm

import "github.com/rota-scheduler/rota/task"

// available is how many tasks of j can be granted now, as far as Advance has looked at the timers.
func (j *job) available() uint32 {
	if !j.due || j.withheld() {
		return 0
	}
	held := j.counts.Held()
	untouched := j.aheadCount()
	if j.spec.Serial {
		if held == 0 && (j.cameBack() > 0 || j.live == 0 && untouched > 0) {
			return 1
		}
		return 0
	}
	n := j.cameBack() + untouched
	if limit := j.spec.MaxParallel; limit > 0 {
		n = min(n, limit-min(limit, held))
	}
	return n
}

// updateReady puts j in line or takes it out.
func (m *Machine) updateReady(j *job) {
	ready := !j.final() && j.available() > 0
	if ready {
		m.wake = true
	}
	if ready == j.inReady {
		return
	}
	j.inReady = ready
	if ready {
		m.lineUp(j)
	} else {
		m.stepOut(j)
	}
}

// comesBack notes that task i, which was granted before, can be granted again.
func (j *job) comesBack(i uint32) {
	if j.returned == nil {
		j.returned = &task.RangeSet{}
	}
	j.returned.Add(task.Range{First: i, Count: 1})
}

// staysAway notes that task i cannot be granted again any more.
func (j *job) staysAway(i uint32) {
	if j.returned != nil {
		j.returned.Remove(task.Range{First: i, Count: 1})
	}
}

// hasBack says whether task i can be granted again.
func (j *job) hasBack(i uint32) bool { return j.returned != nil && j.returned.Has(i) }

// cameBack is how many tasks can be granted again.
func (j *job) cameBack() uint32 {
	if j.returned == nil {
		return 0
	}
	return j.returned.Count()
}
