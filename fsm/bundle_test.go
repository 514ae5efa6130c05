package fsm_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// testBundle is a machine and what is needed to apply ops to it.
type testBundle struct {
	t     testing.TB
	m     *fsm.Machine
	index uint64
	clock int64
}

func newBundle(t testing.TB) *testBundle {
	return &testBundle{t: t, m: fsm.New(nothing{}, fsm.NewWatchers()), clock: 1_700_000_000e9}
}

// apply applies an entry.
func (b *testBundle) apply(ops ...*logpb.Op) []fsm.Result {
	b.t.Helper()
	data, err := fsm.EncodeEntry(b.m.ActiveVersion(), b.clock, ops)
	require.NoError(b.t, err)
	b.index++
	results, err := b.m.Apply(b.index, 1, data)
	require.NoError(b.t, err)
	return results
}

// must applies one op, which must take effect.
func (b *testBundle) must(op *logpb.Op) fsm.Result {
	b.t.Helper()
	r := b.apply(op)[0]
	require.NoError(b.t, r.Err)
	return r
}

func (b *testBundle) openSession(worker string, slots uint32) uint64 {
	b.t.Helper()
	return b.must(&logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Session: &logpb.Session{
		Worker: worker, Nonce: []byte(worker), Slots: slots, Handlers: []string{"h"}, Commands: true,
	}}}}).Session
}

func (b *testBundle) closeSession(id uint64) {
	b.t.Helper()
	b.must(&logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: id}}})
}

func (b *testBundle) submit(s *task.Spec, count uint32) uint64 {
	b.t.Helper()
	return b.must(submitOp(b.t, s, &logpb.Submit{Tasks: &logpb.Tasks{Count: count}})).Job
}

func (b *testBundle) plan(job uint64, first, count uint32, session uint64) fsm.Result {
	b.t.Helper()
	return b.must(planOp(job, first, count, session))
}

// report reports count tasks from first on. The token of task i is i + 1 + offset, as if a single job was granted in
// order. The report comes from the session that holds the first task.
func (b *testBundle) report(job uint64, first, count uint32, offset int64, outcome task.Outcome) fsm.Result {
	b.t.Helper()
	op := reportOp(job, first, count, offset, outcome)
	if t, known := b.m.Task(job, first); known && t.Session != 0 {
		op.GetReport().Session = t.Session
	}
	return b.must(op)
}

func submitOp(t testing.TB, s *task.Spec, o *logpb.Submit) *logpb.Op {
	t.Helper()
	var err error
	o.Spec, err = fsm.EncodeSpec(s)
	require.NoError(t, err)
	return &logpb.Op{Op: &logpb.Op_Submit{Submit: o}}
}

func packed(n uint32) *logpb.Tasks {
	t := &logpb.Tasks{Count: n}
	for i := range n {
		t.Packed = task.PackAppend(t.Packed, fmt.Appendf(nil, "payload %d", i))
	}
	return t
}

func planOp(job uint64, first, count uint32, session uint64) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: &logpb.ApplyPlan{Assign: []*logpb.Assign{{Job: job, First: first, Count: count, Session: session}}}}}
}

// reportOp is a report of session 1.
func reportOp(job uint64, first, count uint32, offset int64, outcome task.Outcome) *logpb.Op {
	g := &logpb.ReportGroup{Job: job, TokenOffset: 1 + offset, Outcome: uint32(outcome), Ranges: []*logpb.Range{{First: first, Count: count}}}
	if outcome == task.OutcomeFailed {
		g.Reason = uint32(task.ReasonError)
	}
	return &logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: 1, Groups: []*logpb.ReportGroup{g}}}}
}

func cancelOp(job uint64, index uint32) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: job, Index: proto.Uint32(index), Reason: uint32(task.ReasonUser)}}}
}

func cancelJobOp(job uint64) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: job, Reason: uint32(task.ReasonUser)}}}
}

// view is a view at the time of the bundle.
func (b *testBundle) view(extra func([]fsm.SessionView)) *fsm.View { return b.viewAt(b.clock, extra) }

func (b *testBundle) viewAt(now int64, extra func([]fsm.SessionView)) *fsm.View {
	v, _ := b.m.AdvanceAndView(now, 0, extra)
	return v
}

// viewAll takes views until none of them finds anything new that is due.
func (b *testBundle) viewAll(now int64) {
	for behind := true; behind; {
		_, behind = b.m.AdvanceAndView(now, 0, roomy)
	}
}

// roomy makes every session connected, with room for as much as it may ever hold.
func roomy(sessions []fsm.SessionView) {
	for i := range sessions {
		sessions[i].Extra = task.MaxOutstanding
	}
}

// fakeHistory has the records of finished jobs and of request keys, marks of appends, and outcomes of all tasks below 1000, under
// tokens that are 100 more than their indexes.
type fakeHistory struct {
	jobs    map[uint64]*logpb.JobRecord
	keys    map[string]*logpb.KeyRecord // by "queue/key"
	appends []*logpb.AppendMark
	// asked counts how often it was asked for tokens, and of how many tasks.
	asked, tasks int
}

func (h *fakeHistory) Tokens(_ uint64, tasks []task.Range, f func(task.Range, fsm.LastToken)) {
	h.asked++
	for _, r := range tasks {
		for i := r.First; i < r.First+r.Count; i++ {
			h.tasks++
			f(task.Range{First: i, Count: 1}, fsm.LastToken{TokenOffset: 100, Granted: i != 7, Known: i < 1000})
		}
	}
}

func (h *fakeHistory) Append(_ uint64, first uint32) (*logpb.AppendMark, bool) {
	i := slices.IndexFunc(h.appends, func(a *logpb.AppendMark) bool { return a.First == first })
	if i < 0 {
		return nil, false
	}
	return h.appends[i], true
}

func (h *fakeHistory) Job(id uint64) (*logpb.JobRecord, bool) { return h.jobs[id], h.jobs[id] != nil }

func (h *fakeHistory) Key(queue, key string) (*logpb.KeyRecord, bool) {
	rec := h.keys[queue+"/"+key]
	return rec, rec != nil
}
