package fsm

import (
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
		if rec == nil || rec.FinishedNs == 0 || !o.OverBudget && rec.FinishedNs+Retention(rec) > m.clock {
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

// Retention is how long a finished job is kept after its end.
func Retention(rec *logpb.JobRecord) (d int64) {
	if len(rec.SpecId) > 0 {
		d = rec.RetentionNs
	} else if s, err := DecodeSpecHead(rec.Spec); err == nil {
		d = int64(s.Retention)
	}
	return retention(d, rec.Counts[task.Succeeded] == rec.Total)
}

// retention is how long a finished job is kept that asked for so long; 0: it did not ask.
func retention(asked int64, succeeded bool) int64 {
	switch {
	case asked > 0:
		return asked
	case succeeded:
		return int64(task.RetainSucceeded)
	}
	return int64(task.RetainOther)
}
