package deterministic

import (
	"slices"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/task"
)

// ledger is what was granted, acknowledged and seen, and what must never be seen beside it.
// It knows the promises, and neither the machine nor the model.
type ledger struct {
	w         *world
	lastToken uint64
	jobs      []uint64
	keys      map[string]uint64
	queues    map[string]string // of request keys
	fresh     map[string]bool   // acknowledged as new
	// granted and recorded are attempts of which the log says so.
	granted   map[attemptKey]bool
	recorded  map[attemptKey]bool
	successes map[task.ID]uint64
	// cancelled is the log index of acknowledged cancels: of a job, or of a task of it.
	cancelled map[task.ID]uint64
	// outcomes is what was read of results, job by job; final is the tasks in them.
	outcomes map[uint64][]outcome
	final    map[task.ID]bool
	ranges   map[uint64][]interval
}

// interval is a run of a task that must not overlap.
type interval struct {
	attemptKey
	worker       string
	began, ended time.Duration
}

// allTasks stands for the index where a cancel is for the whole job.
const allTasks = ^uint32(0)

func newLedger(w *world) *ledger {
	return &ledger{
		w: w, keys: map[string]uint64{}, queues: map[string]string{}, fresh: map[string]bool{}, granted: map[attemptKey]bool{}, recorded: map[attemptKey]bool{},
		successes: map[task.ID]uint64{}, cancelled: map[task.ID]uint64{}, outcomes: map[uint64][]outcome{}, final: map[task.ID]bool{}, ranges: map[uint64][]interval{},
	}
}

// aJob draws a job, mostly a recent one.
func (l *ledger) aJob() (uint64, bool) {
	n := len(l.jobs)
	if n == 0 {
		return 0, false
	}
	const recent = 12
	if n > recent && l.w.chance(80) {
		return l.jobs[n-1-l.w.below(recent)], true
	}
	return l.jobs[l.w.below(n)], true
}

// committed looks at an entry when it comes to the log.
func (l *ledger) committed(e *entry) {
	for _, ev := range e.events {
		if ev.Kind != sim.GrantedEvent {
			continue
		}
		l.w.counts.Grants++
		id := task.ID{Job: ev.Job, Index: ev.Index}
		if ev.Token <= l.lastToken {
			l.w.problem("entry %d: task %v is granted under token %d, the last one was %d", e.index, id, ev.Token, l.lastToken)
		}
		l.lastToken = ev.Token
		l.granted[attemptKey{id, ev.Token}] = true
		for _, of := range []task.ID{id, {Job: ev.Job, Index: allTasks}} {
			if at := l.cancelled[of]; at != 0 && at < e.index {
				l.w.problem("entry %d: task %v is granted, its cancel was acknowledged at %d", e.index, id, at)
			}
		}
		if token, ok := l.successes[id]; ok {
			l.w.problem("entry %d: task %v is granted, its success under %d was acknowledged", e.index, id, token)
		}
	}
	for i, op := range e.ops {
		r := e.results[i]
		switch o := op.Op.(type) {
		case *logpb.Op_Submit:
			if r.Err == nil && !r.Existed {
				l.jobs = append(l.jobs, r.Job)
			}
		case *logpb.Op_Cancel:
			of := task.ID{Job: o.Cancel.Job, Index: allTasks}
			if o.Cancel.Index != nil {
				of.Index = *o.Cancel.Index
			}
			if r.Err == nil && l.cancelled[of] == 0 {
				l.cancelled[of] = e.index
			}
		case *logpb.Op_Report:
			l.tally(o.Report, r)
		}
	}
}

// tally looks at what of a report was recorded: each attempt once, and only if it was granted.
func (l *ledger) tally(o *logpb.Report, r fsm.Result) {
	if r.Err != nil {
		l.w.problem("a report of a worker was refused: %v", r.Err)
	}
	excepted := map[attemptKey]fsm.Verdict{}
	for _, x := range r.Exceptions {
		for i := x.First; i < x.First+x.Count; i++ {
			excepted[attemptKey{task.ID{Job: x.Job, Index: i}, uint64(int64(i) + x.TokenOffset)}] = x.Verdict
		}
		l.except(x)
	}
	for _, g := range o.Groups {
		for _, rg := range g.Ranges {
			for i := rg.First; i < rg.First+rg.Count; i++ {
				k := attemptKey{task.ID{Job: g.Job, Index: i}, uint64(int64(i) + g.TokenOffset)}
				if _, no := excepted[k]; no {
					continue
				}
				l.w.counts.Recorded++
				if l.recorded[k] || !l.granted[k] {
					l.w.problem("a report on %v under token %d is recorded; granted %v, recorded before %v", k.ID, k.token, l.granted[k], l.recorded[k])
				}
				l.recorded[k] = true
			}
		}
	}
}

// except counts the verdicts on what was not recorded.
func (l *ledger) except(x fsm.Exception) {
	switch x.Verdict {
	case fsm.Already:
		l.w.counts.Already += int(x.Count)
	case fsm.Superseded:
		l.w.counts.Superseded += int(x.Count)
	}
}

// submitted is the answer to a submit.
func (l *ledger) submitted(queue, key string, r fsm.Result) {
	l.w.counts.Submits++
	if r.Existed {
		l.w.counts.Repeats++
	}
	if job, ok := l.keys[key]; ok && job != r.Job {
		l.w.problem("request key %s made job %d and job %d", key, job, r.Job)
	}
	if !r.Existed && l.fresh[key] {
		l.w.problem("request key %s was new twice", key)
	}
	l.keys[key], l.queues[key], l.fresh[key] = r.Job, queue, l.fresh[key] || !r.Existed
}

func (l *ledger) acknowledged(key string) bool {
	_, ok := l.keys[key]
	return ok
}

// reported is the answer to a worker's report.
func (l *ledger) reported(some []*attempt, exceptions []fsm.Exception) {
	verdicts := map[attemptKey]fsm.Verdict{}
	for _, x := range exceptions {
		for i := x.First; i < x.First+x.Count; i++ {
			verdicts[attemptKey{task.ID{Job: x.Job, Index: i}, uint64(int64(i) + x.TokenOffset)}] = x.Verdict
		}
	}
	for _, a := range some {
		verdict, excepted := verdicts[a.attemptKey]
		switch {
		case excepted && verdict == fsm.Unknown && l.w.model.Jobs[a.Job] != nil:
			l.w.problem("task %v was granted under %d, and is unknown when it is reported", a.ID, a.token)
		case excepted && verdict == fsm.Superseded && l.successes[a.ID] == a.token && l.successes[a.ID] != 0:
			l.w.problem("the success of %v under %d was acknowledged, and then superseded", a.ID, a.token)
		case (!excepted || verdict == fsm.Already) && a.outcome == task.OutcomeSucceeded:
			if other, ok := l.successes[a.ID]; ok && other != a.token {
				l.w.problem("task %v has succeeded under %d and under %d", a.ID, other, a.token)
			}
			l.successes[a.ID] = a.token
		}
	}
}

// again is the answer to a report that was sent twice.
func (l *ledger) again(some []*attempt, exceptions []fsm.Exception) { l.reported(some, exceptions) }

// ran is a run of an exclusive task at a worker, when it has ended.
func (l *ledger) ran(a *attempt, worker string) {
	mine := interval{a.attemptKey, worker, a.began, a.ended}
	for _, o := range l.ranges[a.Job] {
		if o.began < mine.ended && mine.began < o.ended && !l.w.nature.hostile {
			l.w.problem("%v ran at %s from %v to %v, and %v at %s from %v to %v", a.ID, worker, mine.began, mine.ended, o.ID, o.worker, o.began, o.ended)
		}
	}
	l.ranges[a.Job] = append(l.ranges[a.Job], mine)
}

// read reads the results of a job at a replica and holds them against what was read before, at
// whatever server: it must be the same list, and there is no going back. whole says that it must
// be all of it.
func (l *ledger) read(r *replica, job uint64, whole bool) {
	seen := l.outcomes[job]
	from := uint32(0)
	if n := len(seen); n > 0 && !whole {
		from = uint32(l.w.below(n))
	}
	got := r.results(job, from)
	if len(got) == 0 {
		return // it has not come that far, or has forgotten it
	}
	l.w.counts.Results += len(got)
	want := seen[from:]
	n := min(len(want), len(got))
	if !slices.Equal(want[:n], got[:n]) {
		l.w.problem("%s: results of job %d from %d on are %v, they were %v", r.name, job, from, got, want)
		return
	}
	for _, o := range got[n:] {
		id := task.ID{Job: job, Index: o.index}
		if l.final[id] {
			l.w.problem("%s: task %d.%d has two outcomes: %+v", r.name, job, o.index, o)
		}
		l.final[id] = true
		if k := (attemptKey{id, o.token}); o.state == task.Succeeded.String() && (o.output != k.output() || o.missing != k.missing()) {
			l.w.problem("%s: task %v has output %q, without %d bytes", r.name, k.ID, o.output, o.missing)
		}
		seen = append(seen, o)
	}
	l.outcomes[job] = seen
	l.w.tracef("%s shows %d results of job %d", r.name, len(got), job)
}

func outcomesOf(s fsm.SegmentCut, cursor *uint32) (out []outcome) {
	at, outputs := s.First, s.Segment.PackedOutputs
	for _, rg := range s.Segment.Ranges {
		for i := rg.First; i < rg.First+rg.Count; i++ {
			var output []byte
			output, outputs, _ = task.PackNext(outputs)
			if at == *cursor {
				o := outcome{index: i, state: task.State(s.Segment.State).String(), output: string(output), missing: s.Segment.OutputMissing}
				if s.Segment.Granted {
					o.token = uint64(int64(i) + s.Segment.TokenOffset)
				}
				out = append(out, o)
				*cursor++
			}
			at++
		}
	}
	return out
}
