package fsm_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// life is a random history of jobs of all kinds: some wait for a time, some for workers, some come back, some are swept.
type life struct {
	*testBundle
	r        *rand.Rand
	labels   []task.Pair
	jobs     []uint64
	sessions []uint64
	opened   int
}

func newLife(t testing.TB, seed uint64) *life {
	return &life{testBundle: newBundle(t), r: rand.New(rand.NewPCG(seed, 2)), labels: manyLabels(6)}
}

func (l *life) pick(of []uint64) uint64 {
	if len(of) == 0 {
		return 1
	}
	return of[l.r.IntN(len(of))]
}

// op is the next op. Some of them have no effect.
func (l *life) op() *logpb.Op {
	r := l.r
	switch kind := r.IntN(20); {
	case kind < 6:
		spec := &task.Spec{
			Handler: "h", Queue: fmt.Sprint("q", r.IntN(5)), Priority: r.Int32N(3), Serial: r.IntN(6) == 0, MaxAttempts: 3,
			Delay: time.Duration(max(0, r.IntN(4)-2)) * time.Second, Expire: time.Duration(max(0, r.IntN(6)-3)) * time.Second,
			Require: l.labels[:r.IntN(len(l.labels))], MaxParallel: max(0, r.Uint32N(12)-8),
		}
		return submitOp(l.t, spec, &logpb.Submit{Tasks: &logpb.Tasks{Count: 1 + r.Uint32N(600)}, Open: r.IntN(5) == 0, Hold: r.IntN(2) == 0})
	case kind < 8:
		l.opened++
		return &logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Session: &logpb.Session{
			Worker: fmt.Sprint("w", l.opened), Nonce: []byte{1}, Slots: 1 + r.Uint32N(30), Handlers: []string{"h"},
			Labels: pairs(l.labels[:r.IntN(len(l.labels)+1)]),
		}}}}
	case kind < 9:
		return &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: l.pick(l.sessions), Graceful: r.IntN(2) == 0, Unstarted: r.IntN(2) == 0}}}
	case kind < 13:
		return planOp(l.pick(l.jobs), r.Uint32N(2)*r.Uint32N(40), 1+r.Uint32N(300), l.pick(l.sessions))
	case kind < 14:
		return cancelOp(l.pick(l.jobs), r.Uint32N(300))
	case kind < 15:
		op := cancelJobOp(l.pick(l.jobs))
		op.GetCancel().Step = r.Uint32N(3)
		return op
	case kind < 16:
		due, _ := l.m.Due(l.clock, 5)
		return &logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: due, Step: r.Uint32N(3)}}}
	}
	return l.reportOp()
}

func pairs(labels []task.Pair) (out []*logpb.Pair) {
	for _, p := range labels {
		out = append(out, &logpb.Pair{Key: p.Key, Value: p.Value})
	}
	return out
}

// reportOp reports a part of what a session holds.
func (l *life) reportOp() *logpb.Op {
	id := l.pick(l.sessions)
	var groups []*logpb.ReportGroup
	l.m.Held(id, func(h fsm.HeldTask) {
		if l.r.IntN(2) == 0 {
			return
		}
		outcome := []task.Outcome{task.OutcomeSucceeded, task.OutcomeFailed, task.OutcomeReturned}[l.r.IntN(3)]
		g := &logpb.ReportGroup{Job: h.Job, TokenOffset: h.TokenOffset, Outcome: uint32(outcome), Ranges: []*logpb.Range{{First: h.First, Count: 1 + l.r.Uint32N(h.Count)}}}
		if outcome == task.OutcomeFailed {
			g.Reason = uint32(task.ReasonError)
		}
		groups = append(groups, g)
	})
	return &logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: id, Groups: groups}}}
}

// step applies the next entry.
func (l *life) step() []fsm.Result {
	l.clock += l.r.Int64N(int64(300 * time.Millisecond))
	var ops []*logpb.Op
	for range 1 + l.r.IntN(3) {
		ops = append(ops, l.op())
	}
	results := l.apply(ops...)
	for i, r := range results {
		switch {
		case ops[i].GetSubmit() != nil && r.Err == nil:
			l.jobs = append(l.jobs, r.Job)
		case ops[i].GetOpenSession() != nil && r.Err == nil:
			l.sessions = append(l.sessions, r.Session)
		}
	}
	if l.r.IntN(10) == 0 {
		if c := l.m.Cut(); c != nil {
			l.m.Flushed(c)
		}
	}
	return results
}

// Whatever waits, and however many look at once, a view changes nothing, and the next one is the same. What is due comes
// in line with Advance only.
func TestAViewChangesNothing(t *testing.T) {
	t.Parallel()
	const rounds, steps, viewers = 4, 150, 3
	shown := 0
	for seed := range uint64(rounds) {
		l := newLife(t, seed)
		for step := range steps {
			l.step()
			if step%2 == 0 { // otherwise they come behind an entry
				l.m.Advance(l.clock, l.r.Uint64N(2)*l.r.Uint64N(10))
			}
			before, digest := l.m.DumpDerived(), digestOf(l.m)
			from := l.r.Uint64N(2) * l.r.Uint64N(10)
			want := l.m.View(from, roomy)
			var views [viewers]*fsm.View
			var wg sync.WaitGroup
			for i := range views {
				wg.Go(func() { views[i] = l.m.View(from, roomy) })
			}
			wg.Wait()
			for _, v := range views {
				require.Equal(t, want, v)
			}
			require.Equal(t, before, l.m.DumpDerived())
			require.Equal(t, digest, digestOf(l.m))
			require.Empty(t, l.m.CheckInvariants())
			shown += len(want.Queues)
		}
	}
	require.Greater(t, shown, rounds*steps/2)
}

func digestOf(m *fsm.Machine) uint64 {
	_, digest := m.Digest()
	return digest
}

// After a worker has come, all classes have to be asked whether it can run them, of a million queues, too. Advance does so
// for as many as a view can show; the view ends there, and the next one goes on.
func TestAdvanceLooksAtSoManyQueuesAtOnce(t *testing.T) {
	t.Parallel()
	const queues, most = 1000, 256
	b := newBundle(t)
	b.openAble("able", 1)
	for i := range queues {
		b.submit(&task.Spec{Command: []string{"nobody", "can"}, Queue: fmt.Sprintf("q%03d", i)}, 1)
	}
	b.submit(&task.Spec{Handler: "h", Queue: "r"}, 1)
	for _, label := range manyLabels(3) {
		from := uint64(0)
		for seen := most; seen < queues; seen += most {
			v, _ := b.m.AdvanceAndView(b.clock, from, roomy)
			require.Empty(t, v.Queues)
			require.EqualValues(t, 1+seen, v.Next)
			require.Empty(t, b.m.CheckInvariants())
			from = v.Next
		}
		v, _ := b.m.AdvanceAndView(b.clock, from, roomy)
		require.Len(t, v.Queues, 1)
		v = b.m.View(0, roomy)
		require.Len(t, v.Queues, 1, "without a change all that was looked at is shown")
		require.Zero(t, v.Next)
		b.openAble(label.Key, 1, label)
		v = b.m.View(0, roomy)
		require.Empty(t, v.Queues, "they have to be looked at first")
		require.EqualValues(t, 1, v.Next)
	}
}
