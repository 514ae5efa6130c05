package fsm

import (
	"fmt"

	"github.com/rota-scheduler/rota/task"
)

// maxUnblocked bounds the jobs that the ends of others may touch in one settle: about 2 ms of Apply. No op makes use of
// it yet. Once one does, the number belongs to the rules of its version.
const maxUnblocked = 4096

// touch marks j as changed by this entry. Until settle its share of the digest is
// taken out.
func (m *Machine) touch(j *job) {
	if j.touched {
		return
	}
	j.touched = true
	if !j.final() {
		m.count(j, false)
	}
	m.jobsSum -= j.hash()
	m.touched = append(m.touched, j)
}

// settle brings what is derived from the touched jobs up to date: job ends, ready
// indexes, digest, dirty marks, watchers.
//
// The end of a job may touch other jobs, which have waited for it. They are appended to the list that settle works
// through, so there is no recursion. Jobs are settled in the order in which they were touched, which is the same on
// every server. A job that is touched after it was settled is settled again. How many may be appended is bounded:
// whoever unblocks them is told how much room is left. What finds no room goes on in a later entry, as a sweep does: the
// record of the ended job says where, and the job is due, so that the leader names it.
func (m *Machine) settle() {
	most := len(m.touched) + maxUnblocked
	for n := 0; n < len(m.touched); n++ {
		m.settleJob(m.touched[n], most-len(m.touched))
		if len(m.touched) > most {
			panic(fmt.Sprintf("fsm: the end of job %d has touched more jobs than there was room for", m.touched[n].id))
		}
	}
	if len(m.touched) > 0 {
		m.watchers.notify(m.touched)
		clear(m.touched)
		m.touched = m.touched[:0]
	}
	if m.wake {
		m.wake = false
		if m.observer != nil {
			m.observer.Wake()
		}
	}
}

// settleJob settles one job. If that ends it, as many others may be touched as there is room for.
func (m *Machine) settleJob(j *job, room int) {
	if j.ended() && j.finished == 0 {
		m.finish(j)
		if m.unblock != nil {
			m.unblock(j, room)
		}
	}
	m.updateReady(j)
	m.updateDeadline(j)
	j.touched = false
	if !j.final() {
		m.count(j, true)
	}
	m.jobsSum += j.hash()
	if !j.dirty {
		j.dirty = true
		m.dirtyJobs = append(m.dirtyJobs, j)
		m.dirtyBytes += j.recordBytes()
	}
}

// finish does what the end of a job asks for, once.
func (m *Machine) finish(j *job) {
	j.finished = m.clock
	m.setDeadline(j, 0)
	if m.version >= GateVersion {
		j.forgetAt = m.clock + int64(m.rules.Retention(j.spec.Retention, j.counts[task.Succeeded] == j.total))
	}
	m.liveJobs--
	m.tellEnded(j)
	j.sweep = 0 // whatever it would still have come to has ended
	// Its start may lie years ahead: nobody waits for that any more.
	m.timers.Delete(timer{at: j.notBefore, job: j.id, kind: startTimer})
	if j.key != "" {
		expires := m.clock + int64(m.rules.KeyRetention)
		m.putKey(j.spec.Queue, j.key, &keyEntry{hash: j.keyHash, job: j.id, expires: expires, replaces: keyHashOf(j.spec.Queue, j.key, j.id, 0)})
	}
}
