package sim

import (
	"slices"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

func (m *Model) submit(o *logpb.Submit, r *fsm.Result) {
	if err := m.rules.ValidKey(o.Key); err != nil {
		refuse(r, task.KindOf(err))
		return
	}
	spec, err := fsm.DecodeSpec(o.Spec)
	if err != nil {
		refuse(r, task.KindInvalid)
		return
	}
	task.StoredRules.SetDefaults(spec)
	if err := m.rules.Validate(spec); err != nil {
		refuse(r, task.KindOf(err))
		return
	}
	name := KeyName{spec.Queue, o.Key}
	if k := m.Keys[name]; o.Key != "" && k != nil {
		r.Job, r.Existed = k.Job, true
		if k.Hash != string(o.Hash) {
			refuse(r, task.KindConflict)
			m.saw("key conflict")
		} else {
			m.saw("key repeated")
		}
		return
	}
	j := &Job{
		ID: m.NextJob, Spec: spec, Key: o.Key, Open: o.Open, Hold: o.Open && o.Hold, RetryOf: o.RetryOf,
		Submitted: m.Clock, LastAppend: m.Clock,
	}
	if badPlan(o.Assign) {
		refuse(r, task.KindInvalid)
		return
	}
	if kind := badTasks(j, o.Tasks, o.Open); kind != "" {
		refuse(r, kind)
		return
	}
	if o.Key != "" {
		j.Hash = string(o.Hash)
		m.Keys[name] = &Key{Hash: j.Hash, Job: j.ID}
	}
	switch {
	case spec.Delay > 0:
		j.NotBefore = m.Clock + int64(spec.Delay)
	case spec.NotBefore > m.Clock:
		j.NotBefore = spec.NotBefore
	}
	if spec.Expire > 0 {
		j.ExpireAt = m.Clock + int64(spec.Expire)
	}
	m.NextJob++
	m.Jobs[j.ID] = j
	j.grow(o.Tasks)
	r.Job, r.Total = j.ID, j.Total()
	for _, a := range o.Assign {
		r.Granted += m.assign(a.Session, j.ID, a)
	}
	if r.Granted > 0 {
		m.saw("granted with the submit")
	}
}

// badTasks returns what kind of error adding tasks to j is; "": none.
func badTasks(j *Job, t *logpb.Tasks, zeroOK bool) task.Kind {
	count, own := int(t.GetCount()), len(t.GetPacked()) > 0
	switch {
	case count == 0 && !zeroOK:
		return task.KindInvalid
	case len(j.Tasks)+count > task.MaxTasks:
		return task.KindTooLarge
	case len(j.Tasks) > 0 && count > 0 && own != j.Own:
		return task.KindConflict
	case own:
		return task.KindOf(task.PackCheck(t.Packed, count, task.MaxPayload))
	}
	return ""
}

func (j *Job) grow(t *logpb.Tasks) {
	packed := t.GetPacked()
	if t.GetCount() > 0 {
		j.Own = len(packed) > 0
	}
	state := task.Pending
	if j.NotBefore > 0 {
		state = task.Scheduled
	}
	for range t.GetCount() {
		added := &Task{State: state}
		if j.Own {
			added.Payload, packed, _ = task.PackNext(packed)
		}
		j.Tasks = append(j.Tasks, added)
	}
}

func (m *Model) appendTasks(o *logpb.AppendTasks, r *fsm.Result) {
	j := m.growing(o.Job, r)
	if j == nil {
		return
	}
	switch {
	case o.FirstIndex > j.Total():
		m.saw("append leaves a gap")
		refuse(r, task.KindInvalid)
	case o.Tasks.GetCount() == 0 && j.Open:
		m.saw("append of nothing")
		j.LastAppend = m.Clock
		r.Total = j.Total()
	case o.FirstIndex < j.Total():
		if slices.Contains(j.Appends, Append{o.FirstIndex, o.Tasks.GetCount(), string(o.Tasks.GetPacked())}) {
			m.saw("append repeated")
			r.Existed = true
		} else {
			refuse(r, task.KindConflict)
		}
	case !j.Open:
		refuse(r, task.KindConflict)
	default:
		if kind := badTasks(j, o.Tasks, true); kind != "" {
			refuse(r, kind)
			return
		}
		j.Appends = append(j.Appends, Append{o.FirstIndex, o.Tasks.Count, string(o.Tasks.Packed)})
		j.LastAppend = m.Clock
		j.grow(o.Tasks)
		r.Total = j.Total()
	}
}

func (m *Model) closeTasks(o *logpb.CloseTasks, r *fsm.Result) {
	j := m.growing(o.Job, r)
	switch {
	case j == nil:
	case o.Total != j.Total():
		refuse(r, task.KindConflict)
	case !j.Open:
		r.Existed = true
		if j.Finished != 0 {
			m.saw("close repeated after the end")
		}
	case j.Total() == 0:
		refuse(r, task.KindInvalid)
	default:
		j.Open, j.Hold = false, false
	}
}

// growing finds a job that was not cancelled.
func (m *Model) growing(id uint64, r *fsm.Result) *Job {
	j := m.Jobs[id]
	switch {
	case j == nil:
		refuse(r, task.KindNotFound)
		return nil
	case j.CancelReason != 0:
		refuse(r, task.KindConflict)
		return nil
	}
	r.Job, r.Total = j.ID, j.Total()
	return j
}

func (m *Model) cancel(o *logpb.Cancel, r *fsm.Result) {
	reason := task.Reason(o.Reason)
	j := m.Jobs[o.Job]
	switch {
	case o.Reason == 0 || o.Reason > 255 || !reason.Valid():
		refuse(r, task.KindInvalid)
	case j == nil:
		refuse(r, task.KindNotFound)
	case j.Finished != 0:
		refuse(r, task.KindConflict)
	case o.Index == nil:
		r.Job = j.ID
		budget := sweepBudget(o.Step)
		m.cancelJob(j, reason, r)
		m.sweep(j, &budget)
	case *o.Index >= j.Total():
		r.Job = j.ID
		refuse(r, task.KindNotFound)
	case j.Tasks[*o.Index].State.Final():
		r.Job = j.ID
		refuse(r, task.KindConflict)
	default:
		r.Job = j.ID
		if j.Tasks[*o.Index].State.Held() {
			r.Stopping = 1
		} else {
			r.Cancelled = 1
		}
		m.cancelTask(j, *o.Index, reason)
		m.saw("task cancelled by itself")
	}
}

func (m *Model) cancelJob(j *Job, reason task.Reason, r *fsm.Result) {
	c := j.Counts()
	r.Cancelled += c.Waiting()
	r.Stopping += c.Held()
	if j.CancelReason != 0 {
		if j.Sweep != 0 {
			m.saw("cancelled again in a sweep")
		}
		return
	}
	if j.Sweep != 0 {
		m.saw("cancelled while it expires")
	}
	j.CancelReason, j.Sweep = reason, 1
	j.Open, j.Hold = false, false
	if len(j.Tasks)-int(j.Frontier()) > 1 {
		m.saw("range cancelled")
	}
	if len(j.Tasks) == 0 && j.Reason == 0 {
		j.Reason = reason
	}
}

func (m *Model) cancelTask(j *Job, i uint32, reason task.Reason) {
	t := j.Tasks[i]
	switch t.State {
	case task.Stopping:
	case task.Assigned:
		t.State, t.Reason, t.Since = task.Stopping, reason, m.Clock
		m.Events = append(m.Events, Event{Kind: StoppingEvent, Session: t.Session, Job: j.ID, Index: i, Token: t.Token})
	default:
		m.end(j, i, task.Cancelled, reason, "", nil)
	}
}

// maxSwept is how many tasks and pages of them an entry sweeps.
const maxSwept = 4096

func sweepBudget(step uint32) int {
	if step == 0 {
		return maxSwept
	}
	return int(min(step, maxSwept))
}

// sweep ends what waits of j, and stops what runs if the job is cancelled, page by page until the
// budget is used up.
func (m *Model) sweep(j *Job, budget *int) {
	if j.Sweep == 0 {
		return
	}
	reason := j.CancelReason
	if reason == 0 {
		reason = task.ReasonExpired
	}
	for ; *budget > 0; j.Sweep++ {
		first := int(j.Sweep-1) * fsm.PageTasks
		if first >= len(j.Tasks) {
			j.Sweep = 0
			return
		}
		*budget--
		page := j.Tasks[first:min(first+fsm.PageTasks, len(j.Tasks))]
		whole := !slices.ContainsFunc(page, func(t *Task) bool { return t.Touched })
		for k, t := range page {
			if t.State.Final() || t.State == task.Stopping || t.State == task.Assigned && j.CancelReason == 0 {
				continue
			}
			if !whole {
				*budget--
			}
			m.cancelTask(j, uint32(first+k), reason)
		}
	}
	if int(j.Sweep-1)*fsm.PageTasks >= len(j.Tasks) {
		j.Sweep = 0
	} else {
		m.saw("sweep goes on")
	}
}

func (m *Model) expire(o *logpb.Expire, r *fsm.Result) {
	budget := sweepBudget(o.Step)
	for _, id := range o.Jobs {
		j := m.Jobs[id]
		if j == nil || budget <= 0 {
			continue
		}
		m.finish(j)
		if j.Finished == 0 {
			m.expireJob(j, r)
			m.sweep(j, &budget)
		}
	}
}

func (m *Model) expireJob(j *Job, r *fsm.Result) {
	if j.Open && j.LastAppend+int64(m.rules.OpenTimeout) <= m.Clock {
		m.saw("abandoned")
		m.cancelJob(j, task.ReasonAbandoned, r)
	}
	if j.ExpireAt == 0 || j.ExpireAt > m.Clock {
		return
	}
	if j.Open {
		m.saw("expired while open")
		m.cancelJob(j, task.ReasonExpired, r)
		return
	}
	j.ExpireAt = 0
	if j.CancelReason != 0 {
		return
	}
	c := j.Counts()
	if r.Cancelled += c.Waiting(); c.Waiting() > 0 {
		m.saw("expired")
	}
	j.Sweep = 1
}

// end records the outcome of a task. g is the report that it came in, or nil.
func (m *Model) end(j *Job, i uint32, to task.State, reason task.Reason, worker string, g *logpb.ReportGroup) {
	t := j.Tasks[i]
	if t.State.Final() {
		panic("model: an outcome is overwritten")
	}
	t.State, t.Touched, t.Reason, t.Session, t.NotBefore = to, true, reason, 0, 0
	t.Cursor, t.Worker, t.FinishedAt, t.GrantedWhenEnded = uint32(len(j.Outcomes)), worker, m.Clock, t.Token != 0
	t.Reported = g != nil
	if g != nil {
		t.Usage = m.usage
	}
	if g != nil && to != task.Cancelled {
		t.ExitCodePlusOne, t.Error = g.ExitCodePlusOne, g.Error
	}
	if g != nil && (to != task.Cancelled || m.version >= 4) {
		t.Stderr = g.StderrTail
		t.OutputMissing, t.OutputHead = g.OutputMissing, g.OutputHead
	}
	j.Outcomes = append(j.Outcomes, i)
	if to != task.Succeeded && j.Reason == 0 {
		j.Reason = reason
	}
}
