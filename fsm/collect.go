package fsm

import (
	"time"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// collect forgets finished jobs and request keys whose time is over. The leader
// names them; whether their time is over is decided here, but for jobs that go for
// want of room: how much there is only the leader's disk knows.
func (m *Machine) collect(o *logpb.Collect, r *Result) {
	m.settle() // so that jobs which an earlier op of this entry ended have ended
	for _, id := range o.Jobs {
		// Whether its end is on disk here already must not matter: other servers flush
		// at other times.
		j := m.jobs[id]
		var rec *logpb.JobRecord
		if j != nil {
			rec = j.toRecord()
		} else if stored, ok := m.finished(id); ok {
			rec = stored
		}
		if rec == nil || rec.FinishedNs == 0 || !o.OverBudget && Due(rec) > m.clock {
			continue
		}
		if j != nil {
			m.forget(j)
		}
		m.jobsSum -= recordHash(rec)
		m.collected[id] = struct{}{}
		m.deletedJobs = append(m.deletedJobs, id)
		r.Total++
	}
	for _, k := range o.Keys {
		e, ok := m.lookupKey(k.Queue, k.Key)
		if !ok || e.expires == 0 || e.expires > m.clock {
			continue
		}
		e.deleted = true
		e.replaces = keyHashOf(k.Queue, k.Key, e.job, e.expires)
		m.putKey(k.Queue, k.Key, &e)
		r.Total++
	}
}

// Due is when a finished job may be forgotten.
func Due(rec *logpb.JobRecord) int64 {
	if rec.DueNs != 0 {
		return rec.DueNs
	}
	asked := int64(0)
	if len(rec.SpecId) > 0 {
		asked = rec.RetentionNs
	} else if s, err := DecodeSpecHead(rec.Spec); err == nil {
		asked = int64(s.Retention)
	}
	return rec.FinishedNs + dueBefore(asked, rec.Counts[task.Succeeded] == rec.Total)
}

// dueBefore is how long a job is kept that has ended under a version before 3, which did not note it.
func dueBefore(asked int64, succeeded bool) int64 {
	return int64(task.RulesOf(ungatedVersion).Retention(time.Duration(asked), succeeded))
}
