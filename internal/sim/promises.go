package sim

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/task"
)

// Promises compares what clients and workers of a simulation are told with what they were told before, and in the
// end with the model. It knows no server, and is not safe for concurrent use.
type Promises struct {
	// Problem is told of each contradiction.
	Problem func(format string, args ...any)
	// InOrder says that requests under one key are sent one after the other.
	InOrder bool

	jobs    []uint64
	submits map[KeyName]submitted
	// granted is what the log grants, sent is what workers were sent, by token.
	granted, sent map[uint64]task.ID
	lastToken     uint64
	// successes is, by task, the token of a success that was acknowledged; refused is the successes that were not.
	successes map[task.ID]uint64
	refused   map[AttemptKey]bool
	runs      map[uint64][]run
	outcomes  map[task.ID]Outcome
	// places is, by job and cursor, the task whose result is there.
	places map[task.ID]uint32
}

// submitted is a request key that was acknowledged. fresh: it was told that its job is new.
type submitted struct {
	job   uint64
	fresh bool
}

// run is the time of an attempt that must not overlap others of its job.
type run struct {
	AttemptKey
	worker      string
	began, over time.Time
}

// NewPromises returns promises that were not made yet.
func NewPromises(problem func(format string, args ...any)) *Promises {
	return &Promises{
		Problem: problem, submits: map[KeyName]submitted{}, granted: map[uint64]task.ID{}, sent: map[uint64]task.ID{},
		successes: map[task.ID]uint64{}, refused: map[AttemptKey]bool{}, runs: map[uint64][]run{},
		outcomes: map[task.ID]Outcome{}, places: map[task.ID]uint32{},
	}
}

// Made notes a job that there is.
func (p *Promises) Made(job uint64) { p.jobs = append(p.jobs, job) }

// AJob draws a job, mostly a recent one. ok is false if there is none.
func (p *Promises) AJob(random *rand.Rand) (job uint64, ok bool) {
	n := len(p.jobs)
	if n == 0 {
		return 0, false
	}
	const recent = 12
	if n > recent && random.IntN(100) < 80 {
		return p.jobs[n-1-random.IntN(recent)], true
	}
	return p.jobs[random.IntN(n)], true
}

// Newest returns the jobs that came last.
func (p *Promises) Newest(most int) []uint64 {
	return slices.Clone(p.jobs[max(0, len(p.jobs)-most):])
}

// Acknowledged says whether a submit under this key was.
func (p *Promises) Acknowledged(key KeyName) bool {
	_, ok := p.submits[key]
	return ok
}

// Submitted notes the answer to a submit. first says that it is the first one under its key.
func (p *Promises) Submitted(key KeyName, r fsm.Result) (first bool) {
	s, known := p.submits[key]
	if known && s.job != r.Job {
		p.Problem("request key %s made job %d and job %d", key.Key, s.job, r.Job)
		return false
	}
	if !r.Existed && (s.fresh || known && p.InOrder) {
		p.Problem("request key %s was acknowledged twice as new, for job %d", key.Key, r.Job)
	}
	p.submits[key] = submitted{r.Job, s.fresh || !r.Existed}
	return !known
}

// Granted notes a grant in the order of the log, whose entry is at index.
func (p *Promises) Granted(index uint64, k AttemptKey) {
	if k.Token <= p.lastToken {
		p.Problem("entry %d: task %v is granted under token %d, the last one was %d", index, k.ID, k.Token, p.lastToken)
	}
	p.lastToken = k.Token
	p.granted[k.Token] = k.ID
}

// WasGranted says whether the log grants an attempt.
func (p *Promises) WasGranted(k AttemptKey) bool {
	id, ok := p.granted[k.Token]
	return ok && id == k.ID
}

// Sent notes an attempt that a worker was sent. first says that it was sent for the first time.
func (p *Promises) Sent(k AttemptKey) (first bool) {
	other, known := p.sent[k.Token]
	if known && other != k.ID {
		p.Problem("token %d was granted for %v and for %v", k.Token, other, k.ID)
	}
	if !known {
		p.sent[k.Token] = k.ID
	}
	return !known
}

// Reported notes the answer to a report. first says that it acknowledges the success of a task for the first time.
func (p *Promises) Reported(k AttemptKey, o task.Outcome, v fsm.Verdict) (first bool) {
	success, known := p.successes[k.ID]
	switch v {
	case fsm.Recorded, fsm.Already:
		if o != task.OutcomeSucceeded {
			return false
		}
		if p.refused[k] {
			p.Problem("the report on %v under token %d was superseded, and is %v", k.ID, k.Token, v)
		}
		if known && success != k.Token {
			p.Problem("task %v was recorded under token %d and under token %d", k.ID, success, k.Token)
		}
		if !known {
			p.successes[k.ID] = k.Token
		}
		return !known
	case fsm.Superseded:
		p.refused[k] = true
		if known && success == k.Token {
			p.Problem("the report on %v under token %d was recorded, and is superseded", k.ID, k.Token)
		}
	default:
		p.Problem("the report on %v under token %d, which was granted, got verdict %d", k.ID, k.Token, v)
	}
	return false
}

// Success is the token under which a task has succeeded, as far as anybody was told.
func (p *Promises) Success(id task.ID) (token uint64, ok bool) {
	token, ok = p.successes[id]
	return token, ok
}

// Ran notes when an exclusive attempt ran.
func (p *Promises) Ran(k AttemptKey, worker string, began, over time.Time) {
	for _, o := range p.runs[k.Job] {
		if o.began.Before(over) && began.Before(o.over) {
			p.Problem("job %d: task %d ran on %s from %v to %v, task %d on %s from %v to %v", k.Job,
				k.Index, worker, clock(began), clock(over), o.Index, o.worker, clock(o.began), clock(o.over))
		}
	}
	p.runs[k.Job] = append(p.runs[k.Job], run{k, worker, began, over})
}

func clock(t time.Time) string { return t.Format("04:05.000") }

// Saw notes a result that a server shows. first says that nobody has seen it before.
func (p *Promises) Saw(server string, job uint64, o Outcome) (first bool) {
	id := task.ID{Job: job, Index: o.Index}
	if was, known := p.outcomes[id]; known {
		if was != o {
			p.Problem("the outcome of task %v was %+v, and is %+v on %s", id, was, o, server)
		}
		return false
	}
	p.outcomes[id] = o
	place := task.ID{Job: job, Index: o.Cursor}
	if other, taken := p.places[place]; taken {
		p.Problem("%s: tasks %d and %d of job %d have the same cursor %d", server, other, o.Index, job, o.Cursor)
	}
	p.places[place] = o.Index
	if k := (AttemptKey{id, o.Token}); o.State == task.Succeeded && (o.Output != k.Output() || o.Missing != k.Missing()) {
		p.Problem("%s: task %v has output %q under token %d, without %d bytes", server, id, o.Output, o.Token, o.Missing)
	}
	return true
}

// Settle compares everything that anybody was told with the model, which has applied the whole log. Forgotten jobs
// cannot be compared; their request keys can.
func (p *Promises) Settle(m *Model) {
	keys := map[KeyName]uint64{}
	for _, j := range m.JobList() {
		key := KeyName{Queue: j.Spec.Queue, Key: j.Key}
		if other, twice := keys[key]; twice && j.Key != "" {
			p.Problem("request key %s made job %d and job %d", j.Key, other, j.ID)
		}
		keys[key] = j.ID
	}
	for _, key := range slices.SortedFunc(maps.Keys(p.submits), compareKeys) {
		if k := m.Keys[key]; k == nil || k.Job != p.submits[key].job {
			p.Problem("submit %s was acknowledged as job %d, and is lost", key.Key, p.submits[key].job)
		}
	}
	for _, token := range slices.Sorted(maps.Keys(p.sent)) {
		if id := p.sent[token]; p.granted[token] != id {
			p.Problem("a worker was granted %v under token %d, the log grants it for %v", id, token, p.granted[token])
		}
	}
	find := func(id task.ID) *Task {
		if j := m.Jobs[id.Job]; j != nil {
			return j.Tasks[id.Index]
		}
		return nil
	}
	for _, id := range slices.SortedFunc(maps.Keys(p.successes), compareIDs) {
		if t, token := find(id), p.successes[id]; t != nil && (t.Token != token || t.State != task.Succeeded && t.State != task.Cancelled) {
			p.Problem("the success of %v under token %d was acknowledged; it is %v under token %d", id, token, t.State, t.Token)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(p.refused), AttemptKey.compare) {
		if t := find(k.ID); t != nil && t.State == task.Succeeded && t.Token == k.Token {
			p.Problem("the report on %v under token %d was refused, and is recorded", k.ID, k.Token)
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(p.outcomes), compareIDs) {
		if t := find(id); t != nil && p.outcomes[id] != t.Outcome(id.Index) {
			p.Problem("task %v was seen as %+v, and is %+v", id, p.outcomes[id], t.Outcome(id.Index))
		}
	}
}

func compareKeys(a, b KeyName) int {
	return cmp.Or(cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.Key, b.Key))
}
