package deterministic

import (
	"maps"
	"slices"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/task"
)

// upToDate says that the model is in the state that t's machine is in.
func (t *tenure) upToDate() bool { return !t.deposed && t.r.at == len(t.w.log) }

// connected is the workers that t knows to be there.
func (t *tenure) connected() (out []sim.Worker) {
	var views []fsm.SessionView
	for _, s := range t.r.m.Sessions() {
		views = append(views, fsm.SessionView{ID: s.Id, Slots: s.Slots})
	}
	t.fleet.Extra(views)
	for _, v := range views {
		if v.Extra != fsm.Away {
			out = append(out, sim.Worker{Session: v.ID, Extra: int(v.Extra)})
		}
	}
	return out
}

// wait is how a queue waits to be served.
type wait struct {
	// jobs are the jobs that waited at the last look.
	jobs []*sim.Job
	// passed is the queues that were given what it could have used.
	passed map[string]bool
}

// goesOn says that some of the jobs that wait have waited before.
func (w wait) goesOn(jobs []*sim.Job) bool {
	return slices.ContainsFunc(jobs, func(j *sim.Job) bool { return slices.Contains(w.jobs, j) })
}

// checkPlan checks the order of a plan. It returns a function to call when the plan has been applied, with the
// result of that.
func (t *tenure) checkPlan(plan *logpb.ApplyPlan, now int64) (applied func(fsm.Result)) {
	if !t.upToDate() {
		t.looks.waits = nil // it may serve anybody
		return func(fsm.Result) {}
	}
	turns, wrong := t.w.model.CheckPlan(plan, now, t.connected())
	for _, w := range wrong {
		t.w.problem("term %d: a plan: %s", t.term, w)
	}
	return func(r fsm.Result) { t.checkTurns(turns, r.Refused == 0) }
}

// checkTurns checks that no queue passes another one over twice before that is served. If the plan was not granted
// as a whole, nobody knows who was passed over.
func (t *tenure) checkTurns(turns sim.Turns, whole bool) {
	waits := map[string]wait{}
	for _, queue := range sorted(turns.Waiting) {
		if turns.Served[queue] {
			continue
		}
		before := t.looks.waits[queue]
		w := wait{jobs: turns.Waiting[queue], passed: map[string]bool{}}
		if before.goesOn(w.jobs) {
			maps.Copy(w.passed, before.passed)
		}
		if whole {
			for _, other := range sorted(turns.Passed[queue]) {
				t.w.counts.Passed++
				if w.passed[other] {
					t.w.problem("term %d: queue %s passes queue %s over again, before that is served", t.term, other, queue)
				}
				w.passed[other] = true
			}
		}
		waits[queue] = w
	}
	t.looks.waits = waits
}

// served ends the wait of the queues that an entry serves. Plans of deposed leaders serve queues too.
func (w *world) served(e *entry) {
	if w.tenure == nil || !slices.ContainsFunc(e.ops, func(op *logpb.Op) bool { return op.GetApplyPlan() != nil }) {
		return
	}
	for _, event := range e.events {
		if event.Kind == sim.GrantedEvent {
			delete(w.tenure.looks.waits, w.model.Jobs[event.Job].Spec.Queue)
		}
	}
}

// checkPlace checks that a job that is placed with its submit passes no other job.
func (t *tenure) checkPlace(spec *task.Spec, assigns []*logpb.Assign) {
	if !t.upToDate() {
		return
	}
	for _, w := range t.w.model.CheckPlace(spec, assigns) {
		t.w.problem("term %d: %s", t.term, w)
	}
}
