package deterministic

import (
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/task"
)

// ledger is what was granted, acknowledged and seen, and what must never be seen beside it.
// It knows the promises, and neither the machine nor the model.
type ledger struct {
	*sim.Promises
	w *world
	// recorded is the attempts that the log says were recorded.
	recorded map[sim.AttemptKey]bool
	// cancelled is the log index of acknowledged cancels: of a job, or of a task of it.
	cancelled map[task.ID]uint64
	// seen is how many results of a job were seen.
	seen map[uint64]uint32
}

// allTasks stands for the index if a cancel is for the whole job.
const allTasks = ^uint32(0)

func newLedger(w *world) *ledger {
	return &ledger{
		Promises: sim.NewPromises(w.problem), w: w, recorded: map[sim.AttemptKey]bool{}, cancelled: map[task.ID]uint64{}, seen: map[uint64]uint32{},
	}
}

// aJob draws a job, mostly a recent one.
func (l *ledger) aJob() (uint64, bool) { return l.AJob(l.w.random) }

// committed looks at an entry when it comes to the log.
func (l *ledger) committed(e *entry) {
	for _, ev := range e.events {
		if ev.Kind != sim.GrantedEvent {
			continue
		}
		l.w.counts.Grants++
		id := task.ID{Job: ev.Job, Index: ev.Index}
		l.Granted(e.index, sim.AttemptKey{ID: id, Token: ev.Token})
		for _, of := range []task.ID{id, {Job: ev.Job, Index: allTasks}} {
			if at := l.cancelled[of]; at != 0 && at < e.index {
				l.w.problem("entry %d: task %v is granted, its cancel was acknowledged at %d", e.index, id, at)
			}
		}
		if token, ok := l.Success(id); ok {
			l.w.problem("entry %d: task %v is granted, its success under %d was acknowledged", e.index, id, token)
		}
	}
	for i, op := range e.ops {
		r := e.results[i]
		switch o := op.Op.(type) {
		case *logpb.Op_Submit:
			if r.Err == nil && !r.Existed {
				l.Made(r.Job)
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

// tally checks what was recorded of a report: each attempt once, and only if it was granted.
func (l *ledger) tally(o *logpb.Report, r fsm.Result) {
	if r.Err != nil {
		l.w.problem("a report of a worker was refused: %v", r.Err)
	}
	excepted := sim.Verdicts(r.Exceptions)
	for _, x := range r.Exceptions {
		l.except(x)
	}
	for _, g := range o.Groups {
		for _, rg := range g.Ranges {
			for i := rg.First; i < rg.First+rg.Count; i++ {
				k := sim.KeyAt(g.Job, i, g.TokenOffset)
				if _, no := excepted[k]; no {
					continue
				}
				l.w.counts.Recorded++
				if l.recorded[k] || !l.WasGranted(k) {
					l.w.problem("a report on %v under token %d is recorded; granted %v, recorded before %v", k.ID, k.Token, l.WasGranted(k), l.recorded[k])
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
func (l *ledger) submitted(key sim.KeyName, r fsm.Result) {
	l.w.counts.Submits++
	if r.Existed {
		l.w.counts.Repeats++
	}
	l.Submitted(key, r)
}

// reported is the answer to a worker's report, also to one that was sent twice.
func (l *ledger) reported(some []*attempt, exceptions []fsm.Exception) {
	verdicts := sim.Verdicts(exceptions)
	for _, a := range some {
		v, excepted := verdicts[a.AttemptKey]
		if !excepted {
			v = fsm.Recorded
		}
		if v == fsm.Unknown && l.w.model.Jobs[a.Job] == nil {
			continue // its job is forgotten
		}
		l.Reported(a.AttemptKey, a.outcome, v)
	}
}

// ran is a run of an exclusive task at a worker, when it has ended.
func (l *ledger) ran(a *attempt, worker string) {
	if !l.w.nature.hostile {
		l.Ran(a.AttemptKey, worker, l.w.began.Add(a.began), l.w.began.Add(a.ended))
	}
}

// read reads the results of a job at a replica and compares them with what was read before, at any server: it must
// be the same list, and must never become shorter. whole says that it must be all of it.
func (l *ledger) read(r *replica, job uint64, whole bool) {
	seen, from := l.seen[job], uint32(0)
	if seen > 0 && !whole {
		from = uint32(l.w.below(int(seen)))
	}
	got := r.results(job, from)
	if len(got) == 0 {
		return // it has not come that far, or has forgotten it
	}
	l.w.counts.Results += len(got)
	for i, o := range got {
		if want := from + uint32(i); o.Cursor != want {
			l.w.problem("%s: the result at cursor %d of job %d has cursor %d", r.name, want, job, o.Cursor)
			return
		}
		l.Saw(r.name, job, o)
	}
	l.seen[job] = max(seen, from+uint32(len(got)))
	l.w.tracef("%s shows %d results of job %d", r.name, len(got), job)
}

func outcomesOf(s fsm.ResultSegment, cursor *uint32) (out []sim.Outcome) {
	at, outputs := s.First, s.Segment.PackedOutputs
	for _, rg := range s.Segment.Ranges {
		for i := rg.First; i < rg.First+rg.Count; i++ {
			var output []byte
			output, outputs, _ = task.PackNext(outputs)
			if at == *cursor {
				out = append(out, sim.OutcomeOf(i, at, s.Segment, output))
				*cursor++
			}
			at++
		}
	}
	return out
}
