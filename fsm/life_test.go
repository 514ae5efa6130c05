package fsm_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

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
			Worker: fmt.Sprint("w", l.opened), Nonce: []byte{1}, Slots: 1 + r.Uint32N(30), Handlers: [][]string{{"h"}, {"g"}, {"g", "h"}}[r.IntN(3)],
			Labels: pairs(l.labels[:r.IntN(len(l.labels)+1)]),
		}}}}
	case kind < 9:
		return &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: l.pick(l.sessions), Graceful: r.IntN(2) == 0, Unstarted: r.IntN(2) == 0}}}
	case kind < 13:
		return l.planOp()
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

// planOp plans what a view shows, or anything.
func (l *life) planOp() *logpb.Op {
	r := l.r
	if v := l.m.View(0, roomy); len(v.Queues) > 0 && r.IntN(4) > 0 {
		jobs := v.Queues[r.IntN(len(v.Queues))].Jobs
		j := jobs[r.IntN(1+r.IntN(len(jobs)))] // rather one of the first, which have been worked on
		some := j.Ranges[r.IntN(1+r.IntN(len(j.Ranges)))]
		return planOp(j.ID, some.First, 1+r.Uint32N(some.Count), v.Sessions[r.IntN(len(v.Sessions))].ID)
	}
	return planOp(l.pick(l.jobs), r.Uint32N(2)*r.Uint32N(40), 1+r.Uint32N(300), l.pick(l.sessions))
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

// ops returns the ops of the next entry.
func (l *life) ops() (ops []*logpb.Op) {
	l.clock += l.r.Int64N(int64(300 * time.Millisecond))
	for range 1 + l.r.IntN(3) {
		ops = append(ops, l.op())
	}
	return ops
}

// applyOps applies the next entry.
func (l *life) applyOps(ops []*logpb.Op) []fsm.Result {
	results := l.apply(ops...)
	for i, r := range results {
		switch {
		case ops[i].GetSubmit() != nil && r.Err == nil:
			l.jobs = append(l.jobs, r.Job)
		case ops[i].GetOpenSession() != nil && r.Err == nil:
			l.sessions = append(l.sessions, r.Session)
		}
	}
	return results
}

// flush makes a machine forget what it can, as after a flush.
func (b *testBundle) flush() {
	if c := b.m.TakeBatch(); c != nil {
		b.m.Flushed(c)
	}
}
