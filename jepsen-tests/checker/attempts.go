package checker

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// mostLost is how many attempts at a task may be lost with their workers without a failure: the next loss fails the
// task.
const mostLost = 4

// tried is one attempt as a worker of the suite saw it.
type tried struct {
	history.Grant
	at int64
	// reports is what was said of it under its token.
	reports []*history.Call[history.Report, history.Reported]
}

// failed says whether its failure was recorded, for certain or possibly, and when it was first reported.
func (a *tried) failed() (certain, possible bool, at int64) {
	for _, c := range a.reports {
		if c.In.Outcome != "failed" || c.Type == history.OK && c.Out.Verdict != "recorded" && c.Out.Verdict != "already" {
			continue
		}
		if !possible {
			at = c.Invoke.Time
		}
		possible = true
		certain = certain || c.Type == history.OK
	}
	return certain, possible, at
}

func (a *tried) recorded(outcome string) *history.Call[history.Report, history.Reported] {
	for _, c := range a.reports {
		if c.In.Outcome == outcome && c.Type == history.OK && c.Out.Verdict == "recorded" {
			return c
		}
	}
	return nil
}

// attempts is all attempts that the suite's workers saw, in the order of their tokens.
func (v *view) attempts() map[taskID][]*tried {
	all := map[taskID][]*tried{}
	byToken := map[uint64]*tried{}
	for _, g := range v.grants {
		if byToken[g.Value.Token] != nil {
			continue // sent again on another stream; S5 checks that it is the same
		}
		a := &tried{Grant: g.Value, at: g.Op.Time}
		byToken[g.Value.Token] = a
		id := taskID{a.Job, a.Index}
		all[id] = append(all[id], a)
	}
	for i := range v.reports {
		c := &v.reports[i]
		if a := byToken[c.In.Token]; a != nil && a.Job == c.In.Job && a.Index == c.In.Index {
			a.reports = append(a.reports, c)
		}
	}
	for _, list := range all {
		slices.SortFunc(list, func(a, b *tried) int { return cmp.Compare(a.Token, b.Token) })
	}
	return all
}

// checkAttempts is S8. The suite's own workers see each attempt and what became of it;
// commands of real workers leave their numbers in the ledger.
func checkAttempts(v *view, r *Result) {
	jobs := v.submitsByJob()
	sessions := v.workerSessions()
	// Turned clocks make waits shorter or longer.
	steady := v.steady()
	ends := v.outcomes()
	for id, list := range v.attempts() {
		s, known := jobs[id.job]
		if !known || s.Attempts == 0 {
			continue
		}
		failures := uint32(0)
		for i, a := range list {
			if i > 0 {
				checkRetry(r, id, list[i-1], a, sessions, failures, steady, s)
			}
			if certain, _, _ := a.failed(); certain {
				failures++
			}
			if failures >= s.Attempts && i+1 < len(list) {
				r.problem("task %v was tried again under token %d after %d failures, of which it may have %d", id, list[i+1].Token, failures, s.Attempts)
			}
		}
		if o, ended := ends[id]; ended && o.State == "failed" && o.Reason == "error" {
			checkGivenUp(r, id, list, s.Attempts)
		}
	}
	checkNumbers(v, r, jobs, ends)
}

// steady says that nobody has turned clocks.
func (v *view) steady() bool {
	return !slices.ContainsFunc(v.faults, func(f history.Note[history.Fault]) bool { return strings.HasPrefix(f.Value.Kind, "clock") })
}

// submitsByJob is what the acknowledged jobs were submitted as.
func (v *view) submitsByJob() map[uint64]history.Submit {
	jobs := map[uint64]history.Submit{}
	for i := range v.submits {
		if c := &v.submits[i]; acknowledged(c) {
			jobs[c.Out.Job] = c.In
		}
	}
	return jobs
}

// checkRetry checks why another attempt followed one.
func checkRetry(r *Result, id taskID, last, next *tried, sessions map[uint64]*session, failures uint32, steady bool, s history.Submit) {
	r.Compared++
	if next.Attempt <= last.Attempt {
		r.problem("task %v: token %d is of attempt %d, and token %d of attempt %d", id, last.Token, last.Attempt, next.Token, next.Attempt)
		return
	}
	if next.Attempt > last.Attempt+1 {
		return // one that nobody saw came between; checkNumbers counts those
	}
	if last.recorded("succeeded") != nil {
		r.problem("task %v was tried again under token %d after its success under token %d was recorded", id, next.Token, last.Token)
		return
	}
	_, possible, at := last.failed()
	if possible && at < next.at {
		if wait := next.at - at; steady && failures > 0 && last.recorded("failed") != nil && wait < s.BackoffNs<<(failures-1) {
			r.problem("task %v was tried again %v after failure %d, not after %v at least", id, time.Duration(wait), failures, time.Duration(s.BackoffNs<<(failures-1)))
		}
		return
	}
	if last.recorded("stopped") != nil {
		return
	}
	holder := sessions[last.Session]
	if holder == nil {
		r.problem("task %v: token %d was given to session %d, which nobody has", id, last.Token, last.Session)
		return
	}
	if ok, why := holder.lost(next.at); !ok {
		r.problem("task %v was tried again under token %d at %v, and its attempt under token %d had neither failed nor expired: %s", id, next.Token, time.Duration(next.at), last.Token, why)
	}
}

// checkGivenUp checks whether a task that failed had all its attempts.
func checkGivenUp(r *Result, id taskID, list []*tried, most uint32) {
	r.Compared++
	possible := uint32(0)
	for _, a := range list {
		if _, ok, _ := a.failed(); ok {
			possible++
		}
		if slices.ContainsFunc(a.reports, func(c *history.Call[history.Report, history.Reported]) bool { return c.In.Permanent }) {
			return
		}
	}
	if possible < most {
		r.problem("task %v failed after %d failures, and %d are allowed", id, possible, most)
	}
}

// checkNumbers checks the numbers of attempts, wherever they come from: only those that were lost with a worker that
// never saw them may be missing.
func checkNumbers(v *view, r *Result, jobs map[uint64]history.Submit, ends map[taskID]history.Outcome) {
	seen := map[taskID]map[uint32]bool{}
	see := func(id taskID, attempt uint32) {
		if s := jobs[id.job]; s.Attempts == 0 || attempt == 0 {
			return
		}
		if seen[id] == nil {
			seen[id] = map[uint32]bool{}
		}
		seen[id][attempt] = true
	}
	for _, g := range v.grants {
		see(taskID{g.Value.Job, g.Value.Index}, g.Value.Attempt)
	}
	for _, l := range v.ledger {
		see(taskID{l.Job, l.Index}, l.Attempt)
	}
	for id, o := range ends {
		see(id, o.Attempt)
	}
	for id, numbers := range seen {
		r.Compared++
		last := uint32(0)
		for n := range numbers {
			last = max(last, n)
		}
		if missing := int(last) - len(numbers); missing > mostLost {
			r.problem("task %v has had attempt %d, and %d of those before were seen by nobody", id, last, missing)
		}
		if most := jobs[id.job].Attempts + mostLost; last > most {
			r.problem("task %v has had attempt %d: %d failures and %d lost workers are the most", id, last, jobs[id.job].Attempts, mostLost)
		}
	}
}

// reassignGrace is how long it may take, beyond the lease, until a task that was lost with
// its worker has another one.
const reassignGrace = 2 * time.Second

// checkReassignment is L5. Only silences in quiet times count: a new leader gives every
// worker a new lease, and a cluster that is harmed may take its time.
func checkReassignment(v *view, r *Result) {
	sessions := v.workerSessions()
	attempts := v.attempts()
	ends := v.outcomes()
	var took []time.Duration
	for _, silence := range v.silences {
		s := sessions[silence.Value.Session]
		if s == nil {
			continue
		}
		from := silence.Op.Time
		until := from + s.lease + reassignGrace.Nanoseconds()
		if !v.quiet(from-reassignGrace.Nanoseconds(), until) {
			continue
		}
		for id, list := range attempts {
			for i, a := range list {
				if a.Session != s.id || a.at > from || slices.ContainsFunc(a.reports, func(c *history.Call[history.Report, history.Reported]) bool { return c.In.Why == "" }) {
					continue
				}
				r.Compared++
				switch o, ended := ends[id]; {
				case i+1 < len(list):
					took = append(took, time.Duration(list[i+1].at-from))
					if list[i+1].at > until {
						r.problem("task %v: its worker %s fell silent at %v, and it ran elsewhere only %v later", id, s.worker, time.Duration(from), time.Duration(list[i+1].at-from))
					}
				case !ended || o.Token == a.Token && o.Reason != "worker-lost":
					r.problem("task %v: its worker %s fell silent at %v, and it never ran elsewhere", id, s.worker, time.Duration(from))
				}
			}
		}
	}
	if len(took) > 0 {
		r.Note = "silence to the next attempt: longest " + slices.Max(took).Round(time.Millisecond).String()
	}
}

// quiet says that no server and no link was harmed between two times, that the leader
// stayed, and that the run went on.
func (v *view) quiet(from, until int64) bool {
	ofWorkers := func(f history.Note[history.Fault]) bool { return strings.HasPrefix(f.Value.Kind, "worker-") }
	for _, f := range v.faults {
		if ofWorkers(f) {
			continue
		}
		if f.Op.Time >= from && f.Op.Time <= until {
			return false
		}
	}
	for i, f := range v.faults {
		healed := v.end
		if i < len(v.heals) {
			healed = v.heals[i].Op.Time
		}
		if !ofWorkers(f) && f.Op.Time < from && healed > from {
			return false
		}
	}
	term := uint64(0)
	for _, l := range v.leaders {
		if l.Value.Term > term {
			term = l.Value.Term
			if l.Op.Time >= from && l.Op.Time <= until {
				return false
			}
		}
	}
	return until < v.end
}
