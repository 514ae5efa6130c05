package store

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/task"
)

var (
	queues      = []string{"default", "other"}
	requestKeys = []string{"k1", "k2", "k\x003"}
	workers     = []string{"w1", "w2", "w3", "w4"}
	zones       = []string{"a", "b"}
)

// weighted is choices with how likely each is.
type weighted[V any] []struct {
	weight int
	value  V
}

func pick[V any](w *world, label string, from weighted[V]) V {
	sum := 0
	for _, c := range from {
		sum += c.weight
	}
	n := w.below(sum, label)
	for _, c := range from {
		if n -= c.weight; n < 0 {
			return c.value
		}
	}
	panic("unreachable")
}

// below draws a number below n, each as likely as the others: what rapid draws from a
// range is mostly small, and rare paths would be rarer still.
func (w *world) below(n int, label string) int {
	return int(bits16.Draw(w.T, label)) * n >> 16
}

var bits16 = rapid.Custom(func(t *rapid.T) uint16 {
	n := uint16(0)
	for range 16 {
		n <<= 1
		if rapid.Bool().Draw(t, "bit") {
			n |= 1
		}
	}
	return n
})

func (w *world) chance(label string, percent int) bool { return w.below(100, label) >= 100-percent }

func of[V any](w *world, label string, values ...V) V { return values[w.below(len(values), label)] }

// between draws a number from low to high.
func (w *world) between(label string, low, high uint64) uint64 {
	return low + uint64(w.below(int(high-low+1), label))
}

func (w *world) moveClock() {
	w.clock += int64(pick(w, "clock", weighted[time.Duration]{
		{10, time.Millisecond}, {5, 0}, {5, 2 * time.Second}, {3, 30 * time.Second}, {2, 11 * time.Minute}, {1, 25 * time.Hour}, {1, 8 * 24 * time.Hour}, {1, -time.Hour},
	}))
}

// op draws one op.
func (w *world) op() *logpb.Op {
	return pick(w, "op", weighted[func() *logpb.Op]{
		{8, w.opSubmit}, {4, w.opAppend}, {2, w.opClose}, {3, w.opCancel}, {3, w.opOpenSession}, {2, w.opCloseSession},
		{8, func() *logpb.Op { return w.opPlan(true) }}, {5, w.opHostilePlan}, {10, w.opReport}, {3, w.opRepeat}, {4, w.opExpire}, {3, w.opCollect}, {1, w.opRare},
	})()
}

func (w *world) opRare() *logpb.Op {
	if w.chance("init", 50) {
		return &logpb.Op{Op: &logpb.Op_InitCluster{InitCluster: &logpb.InitCluster{ClusterId: of(w, "cluster", "", "c1", "c2")}}}
	}
	return &logpb.Op{Op: &logpb.Op_Checkpoint{Checkpoint: &logpb.Checkpoint{Id: rapid.Uint64().Draw(w.T, "checkpoint")}}}
}

// jobID draws a job that was made, mostly one that is not final; or one that never was.
func (w *world) jobID() uint64 {
	var live []uint64
	for _, j := range w.model.JobList() {
		if j.Finished == 0 {
			live = append(live, j.ID)
		}
	}
	if len(live) > 0 && w.chance("live", 80) {
		return of(w, "job", live...)
	}
	return w.between("job", 0, w.model.NextJob)
}

func (w *world) opSubmit() *logpb.Op {
	s := &task.Spec{
		Queue: of(w, "queue", queues...), MaxAttempts: uint32(w.between("attempts", uint64(1), uint64(3))),
		Priority: of[int32](w, "priority", 0, 0, 5), Serial: w.chance("serial", 30), MaxParallel: of[uint32](w, "parallel", 0, 0, 1, 3),
		Policy: of(w, "policy", task.LeastLoaded, task.Random), Name: of(w, "name", "", "n"),
	}
	if w.chance("command", 30) {
		s.Command = []string{"true"}
	} else {
		s.Handler = of(w, "handler", "h1", "h2")
	}
	if w.chance("require", 15) {
		s.Require = []task.Pair{{Key: "zone", Value: of(w, "zone", zones...)}}
	}
	switch {
	case w.chance("delay", 10):
		s.Delay = of(w, "delay by", time.Second, 10*time.Second, 30*24*time.Hour)
	case w.chance("not before", 10):
		s.NotBefore = w.clock + int64(of(w, "until", -time.Hour, time.Second, time.Minute))
	}
	if w.chance("expire", 25) {
		s.Expire = of(w, "expire by", time.Second, 20*time.Second, 20*time.Minute)
	}
	if w.chance("retention", 30) {
		s.Retention = of(w, "retention for", time.Nanosecond, time.Second, 48*time.Hour)
	}
	o := &logpb.Submit{Open: w.chance("open", 25), Hold: w.chance("hold", 15), RetryOf: of[uint64](w, "retry of", 0, 0, 1)}
	o.Tasks = w.tasks(o.Open, w.chance("own", 50))
	if w.chance("key", 35) {
		o.Key, o.Hash = of(w, "request key", requestKeys...), []byte(of(w, "hash", "x", "x", "y"))
	}
	var err error
	o.Spec, err = fsm.EncodeSpec(s)
	require.NoError(w, err)
	if len(w.specs) > 0 && w.chance("spec again", 40) {
		o.Spec = of(w, "spec", w.specs...) // jobs with the same bytes share it
	}
	w.specs = append(w.specs, o.Spec)
	if w.chance("bad", 6) {
		w.spoil(s, o)
	}
	return &logpb.Op{Op: &logpb.Op_Submit{Submit: o}}
}

// spoil makes a submit one that must be refused.
func (w *world) spoil(s *task.Spec, o *logpb.Submit) {
	switch int(w.between("what is bad", uint64(0), uint64(6))) {
	case 0:
		o.Spec = []byte{0xff}
	case 1:
		s.Policy = 9
		o.Spec, _ = fsm.EncodeSpec(s)
	case 2:
		s.Handler, s.Command = "", nil
		o.Spec, _ = fsm.EncodeSpec(s)
	case 3:
		o.Tasks = &logpb.Tasks{Count: task.MaxTasks + 1}
	case 4:
		o.Tasks = &logpb.Tasks{Count: 2, Packed: []byte{200}}
	case 5:
		o.Key = string(bytes.Repeat([]byte("k"), task.MaxRequestKey+1))
	case 6:
		o.Tasks = nil
	}
}

// tasks draws a run of tasks: mostly one, some, or more than a page of them.
func (w *world) tasks(zeroOK, own bool) *logpb.Tasks {
	least := uint32(1)
	if zeroOK {
		least = 0
	}
	t := &logpb.Tasks{}
	switch pick(w, "size", weighted[int]{{45, 1}, {45, 2}, {10, 3}}) {
	case 1:
		t.Count = max(least, 1-min(1, least))
		if !zeroOK {
			t.Count = 1
		}
	case 2:
		t.Count = uint32(w.between("count", uint64(least), uint64(12)))
	case 3:
		t.Count = of[uint32](w, "many", 255, 256, 257, 300, 520)
	}
	if !own {
		return t
	}
	for i := range t.Count {
		t.Packed = task.PackAppend(t.Packed, fmt.Appendf(nil, "p%d", i))
	}
	if t.Count == 1 && w.chance("large", 15) {
		t.Packed = task.PackAppend(nil, bytes.Repeat([]byte("p"), inlineBytes+1))
	}
	return t
}

func (w *world) opAppend() *logpb.Op {
	if len(w.appends) > 0 && w.chance("append again", 20) {
		return &logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: of(w, "append", w.appends...)}}
	}
	o := &logpb.AppendTasks{Job: w.openJobID()}
	own := w.chance("own", 50)
	if j := w.model.Jobs[o.Job]; j != nil {
		o.FirstIndex = j.Total()
		if j.Total() > 0 && w.chance("alike", 90) {
			own = j.Own
		}
	}
	o.FirstIndex += of[uint32](w, "gap", 0, 0, 0, 0, 0, 0, 1, math.MaxUint32)
	o.Tasks = w.tasks(w.chance("none", 5), own)
	w.appends = append(w.appends, o)
	return &logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: o}}
}

func (w *world) openJobID() uint64 {
	var open []uint64
	for _, j := range w.model.JobList() {
		if j.Open {
			open = append(open, j.ID)
		}
	}
	if len(open) > 0 && w.chance("open one", 85) {
		return of(w, "open job", open...)
	}
	return w.jobID()
}

func (w *world) opClose() *logpb.Op {
	o := &logpb.CloseTasks{Job: w.openJobID()}
	if w.chance("any", 30) {
		o.Job = w.between("job", 0, w.model.NextJob)
	}
	if j := w.model.Jobs[o.Job]; j != nil {
		o.Total = j.Total()
	}
	o.Total += of[uint32](w, "off", 0, 0, 0, 0, 0, 1)
	return &logpb.Op{Op: &logpb.Op_CloseTasks{CloseTasks: o}}
}

func (w *world) opCancel() *logpb.Op {
	o := &logpb.Cancel{Job: w.jobID(), Reason: of[uint32](w, "reason", 7, 7, 7, 7, 7, 7, 7, 0, 9, 256+7)}
	if j := w.model.Jobs[o.Job]; j != nil && w.chance("one task", 60) {
		o.Index = proto.Uint32(uint32(w.between("index", uint64(0), uint64(j.Total()))))
	}
	return &logpb.Op{Op: &logpb.Op_Cancel{Cancel: o}}
}

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
			o.Replaces = s.Id
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
	return &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: w.sessionID(), Graceful: w.chance("graceful", 40)}}}
}

// opPlan assigns what a view shows, all of it or some.
func (w *world) opPlan(some bool) *logpb.Op {
	plan := &logpb.ApplyPlan{}
	v := w.state.Machine().View(max(w.clock, w.model.Clock), "")
	for c, class := range v.Classes {
		var can []uint64
		for _, s := range v.Sessions {
			if s.Accepts[c] {
				can = append(can, s.ID)
			}
		}
		if len(can) == 0 {
			continue
		}
		for _, jv := range class.Jobs {
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

// addToGroups puts a task into the last group, or into a new one where it does not fit.
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
		g.Job, g.TokenOffset = w.jobID(), rapid.Int64Range(-2, 10).Draw(w.T, "offset")
		g.Ranges = []*logpb.Range{{First: uint32(w.between("first", uint64(0), uint64(5))), Count: uint32(w.between("count", uint64(0), uint64(5)))}}
		groups = append(groups, g)
	}
	if len(groups) > 0 && w.chance("hostile report", 4) {
		g := proto.CloneOf(groups[0])
		switch int(w.between("how", uint64(0), uint64(2))) {
		case 0:
			g.Outcome = of[uint32](w, "outcome", 0, 5, 256+1)
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
		{5, task.OutcomeSucceeded}, {4, task.OutcomeFailed}, {1, task.OutcomeReturned}, {1, task.OutcomeStopped},
	}))}
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

func (w *world) opExpire() *logpb.Op {
	jobs, _ := w.state.Machine().Due(max(w.clock, w.model.Clock), 100)
	return &logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: append(jobs, w.jobID())}}}
}

// opCollectAll names also what is not on disk here: on the leader it may be.
func (w *world) opCollectAll() *logpb.Op {
	o := &logpb.Collect{Jobs: slices.Sorted(maps.Keys(w.model.Jobs))}
	for _, queue := range queues {
		for _, key := range requestKeys {
			o.Keys = append(o.Keys, &logpb.KeyRef{Queue: queue, Key: key})
		}
	}
	return &logpb.Op{Op: &logpb.Op_Collect{Collect: o}}
}

func (w *world) opCollect() *logpb.Op {
	if w.chance("whatever there is", 60) {
		return w.opCollectAll()
	}
	jobs, keys, err := w.state.Due(w.clock, 100)
	require.NoError(w, err)
	return &logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: append(jobs, w.jobID()), Keys: keys}}}
}
