package deterministic

import (
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

// checkPlan checks the order of a plan: that of each queue, and that each queue has its turn before
// another one has had two more.
func (t *tenure) checkPlan(plan *logpb.ApplyPlan, now int64) {
	if !t.upToDate() {
		return
	}
	passed, wrong := t.w.model.CheckPlan(plan, now, t.connected())
	for _, w := range wrong {
		t.w.problem("term %d: a plan: %s", t.term, w)
	}
	again := map[string]int{}
	for _, queue := range passed {
		t.w.counts.Passed++
		if again[queue] = t.looks.passed[queue] + 1; again[queue] >= len(queues) {
			t.w.problem("term %d: %d plans in a row pass queue %s over", t.term, again[queue], queue)
		}
	}
	t.looks.passed = again
}

// checkPlace checks that what is placed with its submit passes nobody.
func (t *tenure) checkPlace(spec *task.Spec, assigns []*logpb.Assign) {
	if !t.upToDate() {
		return
	}
	for _, w := range t.w.model.CheckPlace(spec, assigns) {
		t.w.problem("term %d: %s", t.term, w)
	}
}
