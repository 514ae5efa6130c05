package fsm

// maxRegrouped is how many classes with jobs in line Advance puts in their pools in one go, apart from those of the
// queue that it has begun with: as many as a view can show. There may be millions after a worker has come.
const maxRegrouped = maxViewClasses

// Advance brings what is derived up to now, for a View of queues from a turn on: it moves jobs and tasks in line whose
// time has come, and puts classes with jobs in line in the pools of the workers that can run them. Nothing of that is
// replicated. What it does goes with what has changed since the last time, and is bounded. It says that it is behind
// where timers are due which it has not looked at. Where it has not come to a queue, a view ends there, and the Advance
// for the next one begins there.
//
// It looks at timers only for a view from the first queue on: what they move in line may stand anywhere, also before
// what another view begins with.
func (m *Machine) Advance(now int64, from uint64) (behind bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.advance(now, from)
}

func (m *Machine) advance(now int64, from uint64) (behind bool) {
	if from == 0 {
		m.advanced = max(m.advanced, now)
		behind = m.fireTimers(now)
	} else {
		behind = m.timersDue(now)
	}
	m.regroup(from)
	return behind
}

// regroup sees to outdated queues from a turn on.
func (m *Machine) regroup(from uint64) {
	if m.grouped != m.fleet {
		// Other workers can run things now. All queues have to be looked at, each before it is shown. To copy a tree takes
		// no longer than to copy its root.
		m.outdated, m.grouped = m.ready.Copy(), m.fleet
	}
	for regrouped := 0; regrouped < maxRegrouped; {
		q := m.nextOutdated(from)
		if q == nil {
			return
		}
		regrouped += max(1, q.regroup(m))
		m.outdated.Delete(q.turn)
	}
}

// nextOutdated returns the first outdated queue from a turn on; nil: there is none.
func (m *Machine) nextOutdated(from uint64) (next *queue) {
	m.outdated.Ascend(from, func(_ uint64, q *queue) bool {
		next = q
		return false
	})
	return next
}
