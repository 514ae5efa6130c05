package store

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/task"
)

func (w *world) opOpenSession() *logpb.Op {
	pb := &logpb.Session{
		Id: 77, Worker: of(w, "worker", workers...), Name: of(w, "name", "", "name"), Nonce: []byte{byte(w.below(21, "nonce"))},
		Slots: of[uint32](w, "slots", 1, 1, 2, 8), Labels: []*logpb.Pair{{Key: "zone", Value: of(w, "zone", zones...)}},
		Commands: w.chance("commands", 80), Handlers: of(w, "handlers", []string{"h1", "h2"}, []string{"h1", "h2"}, []string{"h1"}, nil),
		Queues: of(w, "queues", nil, nil, []string{"default"}),
	}
	o := &logpb.OpenSession{Session: pb}
	switch int(w.between("hostile hello", uint64(0), uint64(40))) {
	case 0:
		o.Session = nil
	case 1:
		pb.Worker = ""
	case 2:
		pb.Slots = of[uint32](w, "slots", 0, task.MaxSlots+1, math.MaxUint32)
	}
	for _, s := range w.model.Sessions {
		if s.Worker == pb.Worker && w.chance("replace", 85) {
			o.Replaces, o.ReplacesNonce = s.Id, s.Nonce
			if w.chance("without its nonce", 10) {
				o.ReplacesNonce = of(w, "nonce", nil, []byte("x"))
			}
			held := w.model.Held(s.Id)
			n := int(w.between("done", uint64(0), uint64(len(held))))
			o.Reports = w.reportOn(held[:n])
			o.Held = w.heldOf(held[n:])
		}
	}
	return &logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: o}}
}

// heldOf draws which of the tasks a worker says it still has, right or wrong.
func (w *world) heldOf(held []sim.Event) (out []*logpb.Held) {
	for _, e := range held {
		if !w.chance("has", 70) {
			continue
		}
		e.Token += of[uint64](w, "wrong token", 0, 0, 0, 0, 0, 1)
		out = append(out, &logpb.Held{Job: e.Job, TokenOffset: int64(e.Token) - int64(e.Index), Ranges: []*logpb.Range{{First: e.Index, Count: 1}}})
		if len(out) > 20 {
			break
		}
	}
	if w.chance("hostile held", 5) {
		out = append(out, &logpb.Held{Job: 1, Ranges: []*logpb.Range{{First: of[uint32](w, "first", 3, math.MaxUint32), Count: of[uint32](w, "count", 4, math.MaxUint32)}}})
	}
	return out
}

// opEverySession opens a session that can run anything.
func (w *world) opEverySession() *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Session: &logpb.Session{
		Worker: fmt.Sprintf("every-%d", w.model.NextSession), Nonce: []byte("n"), Slots: 100, Commands: true,
		Handlers: []string{"h1", "h2"}, Labels: []*logpb.Pair{{Key: "zone", Value: "a"}},
	}}}}
}

func (w *world) sessionID() uint64 {
	if len(w.model.Sessions) > 0 && w.chance("known", 92) {
		return of(w, "session", slices.Sorted(maps.Keys(w.model.Sessions))...)
	}
	return w.between("session", 0, w.model.NextSession)
}

func (w *world) opCloseSession() *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: w.sessionID(), Graceful: w.chance("graceful", 40), Unstarted: w.chance("unstarted", 50)}}}
}

// opPlan assigns what a view shows, all of it or some.
func (w *world) opPlan(some bool) *logpb.Op {
	plan := &logpb.ApplyPlan{}
	w.looked = max(w.looked, w.clock, w.model.Clock)
	v, _ := w.state.Machine().AdvanceAndView(w.looked, 0, func(sessions []fsm.SessionView) {
		for i := range sessions {
			sessions[i].Extra = task.MaxOutstanding
		}
	})
	for _, q := range v.Queues {
		for _, jv := range q.Jobs {
			var can []uint64
			for _, s := range v.Sessions {
				if v.Classes[jv.Class].Accepting.Has(s.Able) {
					can = append(can, s.ID)
				}
			}
			for _, r := range jv.Ranges {
				n := r.Count
				if some {
					n = uint32(w.between("part", uint64(0), uint64(r.Count)))
				}
				plan.Assign = append(plan.Assign, &logpb.Assign{Job: jv.ID, First: r.First, Count: n, Session: of(w, "to", can...)})
			}
		}
	}
	w.plans = append(w.plans, plan)
	return &logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: plan}}
}

// opPlanFor gives everything that is left of every job to one session.
func (w *world) opPlanFor(session uint64) *logpb.Op {
	plan := &logpb.ApplyPlan{}
	for _, j := range w.model.JobList() {
		if j.Finished == 0 {
			plan.Assign = append(plan.Assign, &logpb.Assign{Job: j.ID, Count: j.Total(), Session: session})
		}
	}
	return &logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: plan}}
}

// opHostilePlan is an old plan, or one that makes no sense.
func (w *world) opHostilePlan() *logpb.Op {
	if len(w.plans) > 0 && w.chance("stale", 50) {
		return &logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: of(w, "plan", w.plans...)}}
	}
	if w.chance("everything", 40) {
		return w.opPlanFor(w.sessionID())
	}
	plan := &logpb.ApplyPlan{}
	for range w.between("assigns", 1, 3) {
		plan.Assign = append(plan.Assign, &logpb.Assign{
			Job: w.jobID(), Session: w.sessionID(), First: of[uint32](w, "first", 0, 0, 1, 2, 300, math.MaxUint32),
			Count: of[uint32](w, "count", 0, 1, 1, 2, 5, 300, math.MaxUint32),
		})
	}
	return &logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: plan}}
}

func (w *world) opReport() *logpb.Op {
	session := w.sessionID()
	held := w.model.Held(session)
	if w.chance("of all workers", 15) { // those of others are not its to end
		held = nil
		for _, id := range slices.Sorted(maps.Keys(w.model.Sessions)) {
			held = append(held, w.model.Held(id)...)
		}
		slices.SortFunc(held, func(a, b sim.Event) int { return cmp.Or(cmp.Compare(a.Job, b.Job), cmp.Compare(a.Index, b.Index)) })
	}
	if len(held) > 0 && w.chance("part of it", 50) {
		from := int(w.between("from", uint64(0), uint64(len(held)-1)))
		held = held[from : from+int(w.between("length", uint64(1), uint64(len(held)-from)))]
	}
	o := &logpb.Report{Session: session, Groups: w.reportOn(held)}
	w.reports = append(w.reports, o)
	return &logpb.Op{Op: &logpb.Op_Report{Report: o}}
}

// opReportAll reports that all a session holds has succeeded; nil: it holds nothing.
func (w *world) opReportAll(session uint64) *logpb.Op {
	o := &logpb.Report{Session: session}
	for _, e := range w.model.Held(session) {
		o.Groups = addToGroups(o.Groups, e, func() *logpb.ReportGroup { return &logpb.ReportGroup{Outcome: uint32(task.OutcomeSucceeded)} })
	}
	if len(o.Groups) == 0 {
		return nil
	}
	w.reports = append(w.reports, o)
	return &logpb.Op{Op: &logpb.Op_Report{Report: o}}
}

// addToGroups adds a task to the last group, or to a new one if it does not fit.
func addToGroups(groups []*logpb.ReportGroup, e sim.Event, fresh func() *logpb.ReportGroup) []*logpb.ReportGroup {
	offset := int64(e.Token) - int64(e.Index)
	if n := len(groups); n == 0 || groups[n-1].Job != e.Job || groups[n-1].TokenOffset != offset {
		g := fresh()
		g.Job, g.TokenOffset = e.Job, offset
		groups = append(groups, g)
	}
	g := groups[len(groups)-1]
	if n := len(g.Ranges); n > 0 && g.Ranges[n-1].First+g.Ranges[n-1].Count == e.Index {
		g.Ranges[n-1].Count++
	} else {
		g.Ranges = append(g.Ranges, &logpb.Range{First: e.Index, Count: 1})
	}
	return groups
}

// reportOn draws a report on tasks: how they ended, what they left, and what is wrong
// with the report.
func (w *world) reportOn(held []sim.Event) []*logpb.ReportGroup {
	var groups []*logpb.ReportGroup
	for _, e := range held {
		groups = addToGroups(groups, e, w.group)
	}
	for _, g := range groups {
		if w.chance("wider", 15) { // tasks that it does not hold, or held once
			g.Ranges = append(g.Ranges, &logpb.Range{First: uint32(w.between("first", uint64(0), uint64(10))), Count: 3})
		}
		if w.chance("usage", 30) {
			for _, rg := range g.Ranges {
				for i := rg.First; i < rg.First+rg.Count; i++ {
					g.PackedUsage = task.PackAppend(g.PackedUsage, task.Usage{PeakMemory: uint64(i) << 20}.Append(nil))
				}
			}
			if w.chance("usage cut short", 15) {
				g.PackedUsage = g.PackedUsage[:len(g.PackedUsage)/2]
			}
		}
		if !w.chance("outputs", 60) {
			continue
		}
		for _, rg := range g.Ranges {
			for i := rg.First; i < rg.First+rg.Count; i++ {
				g.PackedOutputs = task.PackAppend(g.PackedOutputs, fmt.Appendf(nil, "r%d", i))
			}
		}
		switch int(w.between("outputs are", uint64(0), uint64(15))) {
		case 0:
			g.PackedOutputs = g.PackedOutputs[:len(g.PackedOutputs)/2]
		case 1:
			g.PackedOutputs = task.PackAppend(nil, bytes.Repeat([]byte("r"), 5000))
		}
	}
	if w.chance("stranger", 10) {
		g := w.group()
		g.Job, g.TokenOffset = w.jobID(), int64(w.between("offset", 0, 12))-2
		g.Ranges = []*logpb.Range{{First: uint32(w.between("first", uint64(0), uint64(5))), Count: uint32(w.between("count", uint64(0), uint64(5)))}}
		groups = append(groups, g)
	}
	if len(groups) > 0 && w.chance("hostile report", 4) {
		g := proto.CloneOf(groups[0])
		switch int(w.between("how", uint64(0), uint64(2))) {
		case 0:
			g.Outcome = of[uint32](w, "outcome", 0, 6, 256+1)
		case 1:
			g.Reason = of[uint32](w, "reason", 9, 256)
		case 2:
			g.Ranges = append(g.Ranges, &logpb.Range{First: 5, Count: math.MaxUint32})
		}
		groups = append(groups, g)
	}
	return groups
}

func (w *world) group() *logpb.ReportGroup {
	g := &logpb.ReportGroup{Outcome: uint32(pick(w, "outcome", weighted[task.Outcome]{
		{5, task.OutcomeSucceeded}, {4, task.OutcomeFailed}, {1, task.OutcomeReturned}, {1, task.OutcomeStopped}, {1, task.OutcomeLost},
	}))}
	if w.chance("flush batch", 20) {
		g.OutputMissing, g.OutputHead = 1<<40, 3
	}
	if g.Outcome == uint32(task.OutcomeFailed) {
		g.Reason = uint32(of(w, "reason", task.ReasonError, task.ReasonExitCode, task.ReasonTimeout))
		g.Permanent = w.chance("permanent", 15)
		g.ExitCodePlusOne, g.Error, g.StderrTail = 3, "it failed", []byte("on stderr")
	}
	return g
}

// opRepeat sends an old report again, as it was.
func (w *world) opRepeat() *logpb.Op {
	if len(w.reports) == 0 {
		return w.opReport()
	}
	return &logpb.Op{Op: &logpb.Op_Report{Report: of(w, "old report", w.reports...)}}
}

// opOverdue takes tasks from a session whose worker is silent, also some whose time has not come or that others
// hold.
func (w *world) opOverdue() *logpb.Op {
	o := &logpb.Overdue{Session: w.sessionID(), Unstarted: w.chance("unstarted", 30)}
	all := w.overdueNow()
	if len(all) == 0 && w.chance("let time pass", 85) {
		w.clock = max(w.clock, w.model.Clock) + int64(task.ReportMargin+time.Second)
		all = w.overdueNow()
	}
	for _, found := range all {
		isExclusive := func(t fsm.OverdueTask) bool { return t.Exclusive }
		if slices.ContainsFunc(found.Tasks, isExclusive) && w.chance("pass over", 50) {
			continue
		}
		o.Session = found.Session
		for _, t := range found.Tasks {
			o.Held = append(o.Held, &logpb.Held{Job: t.Job, TokenOffset: t.TokenOffset, Ranges: []*logpb.Range{{First: t.Index, Count: of[uint32](w, "run", 1, 1, 1, 2)}}})
		}
		break
	}
	if len(o.Held) == 0 {
		for _, e := range w.model.Held(o.Session) {
			o.Held = append(o.Held, &logpb.Held{Job: e.Job, TokenOffset: int64(e.Token) - int64(e.Index), Ranges: []*logpb.Range{{First: e.Index, Count: 1}}})
		}
	}
	return &logpb.Op{Op: &logpb.Op_Overdue{Overdue: o}}
}

// overdueNow is what the machine finds overdue. The model must agree.
func (w *world) overdueNow() (all []fsm.Overdue) {
	now := max(w.clock, w.model.Clock)
	for after := uint64(0); ; {
		found, next := w.state.Machine().Overdue(now, after, 1+w.below(3, "pages"))
		all = append(all, found...)
		if after = next; next == 0 {
			break
		}
	}
	want := 0
	for _, j := range w.model.JobList() {
		for _, t := range j.Tasks {
			if j.Late(t, now) {
				want++
			}
		}
	}
	for _, o := range all {
		want -= len(o.Tasks)
	}
	require.Zero(w, want, "overdue tasks that are not found, or not overdue")
	return all
}
