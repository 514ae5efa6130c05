package scheduler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// desk is a leader without loops: what its allocator plans is applied at once.
type desk struct {
	t     testing.TB
	m     *fsm.Machine
	f     *Fleet
	next  Allocator
	index uint64
	// granted is what was granted, in order, and views how many looks that took.
	granted []fsm.Grant
	views   int
}

func newDesk(t testing.TB) *desk {
	d := &desk{t: t, m: fsm.New(noHistory{}, fsm.NewWatchers()), f: NewFleet(time.Minute)}
	d.f.Begin(nil)
	d.m.SetObserver(d)
	return d
}

func (d *desk) Granted(g fsm.Grant)                     { d.granted = append(d.granted, g) }
func (d *desk) Stopping(_, _ uint64, _ uint32, _ int64) {}
func (d *desk) SessionClosed(session uint64)            { d.f.SessionClosed(session) }
func (d *desk) Wake()                                   { d.f.Wake() }

func (d *desk) apply(op *logpb.Op) fsm.Result {
	d.t.Helper()
	d.index++
	data, err := fsm.EncodeEntry(fsm.GateVersion, int64(d.index), []*logpb.Op{op})
	require.NoError(d.t, err)
	r, err := d.m.Apply(d.index, 1, data)
	require.NoError(d.t, err)
	require.NoError(d.t, r[0].Err)
	return r[0]
}

// worker opens a session and connects it.
func (d *desk) worker(s *logpb.Session) uint64 {
	d.t.Helper()
	s.Worker, s.Nonce = fmt.Sprint("w", d.index), []byte("1")
	id := d.apply(&logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Session: s}}}).Session
	require.True(d.t, d.f.Attach(id, &quiet{}))
	return id
}

func (d *desk) submit(spec *task.Spec, count uint32) uint64 {
	d.t.Helper()
	raw, err := fsm.EncodeSpec(spec)
	require.NoError(d.t, err)
	return d.apply(&logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: raw, Tasks: &logpb.Tasks{Count: count}}}}).Job
}

// plan plans and applies until there is nothing to do, and returns what was granted.
func (d *desk) plan() []fsm.Grant {
	d.t.Helper()
	from := len(d.granted)
	for {
		op, idle := d.next.Plan(d.m, d.f, int64(d.index))
		d.views++
		if op != nil {
			require.Zero(d.t, d.apply(op).Refused)
		} else if idle {
			return d.granted[from:]
		}
	}
}

// finish ends what a session holds.
func (d *desk) finish(session uint64) {
	d.t.Helper()
	o := &logpb.Report{Session: session}
	d.m.Held(session, func(h fsm.HeldTask) {
		o.Groups = append(o.Groups, &logpb.ReportGroup{
			Job: h.Job, TokenOffset: h.TokenOffset, Outcome: uint32(task.OutcomeSucceeded), Ranges: []*logpb.Range{{First: h.First, Count: h.Count}},
		})
	})
	d.apply(&logpb.Op{Op: &logpb.Op_Report{Report: o}})
}

// jobsOf lists the jobs of grants, a task each.
func jobsOf(grants []fsm.Grant) (out []uint64) {
	for _, g := range grants {
		for range g.Count {
			out = append(out, g.Job)
		}
	}
	return out
}

// With one slot, and one task at a time, each queue has its turn, whatever it is called and
// however long the others are.
func TestQueuesTakeTurns(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	w := d.worker(&logpb.Session{Slots: 1, Handlers: []string{"h"}})
	const deep = 30
	queue := map[uint64]string{}
	for _, q := range []string{"default", "zzz", "aaa"} {
		queue[d.submit(&task.Spec{Handler: "h", Queue: q}, deep)] = q
	}
	got := map[string]int{}
	for round := 1; round <= 3*deep; round++ {
		for _, job := range jobsOf(d.plan()) {
			got[queue[job]]++
		}
		d.finish(w)
		for _, q := range []string{"default", "zzz", "aaa"} {
			require.Equal(t, (round+2)/3, max(got[q], (round+2)/3), "queue %s after %d tasks: %v", q, round, got)
			require.LessOrEqual(t, got[q], (round+2)/3)
			require.GreaterOrEqual(t, got[q], round/3, "queue %s after %d tasks: %v", q, round, got)
		}
	}
}

// No queue gets a second turn before each has had its first, however many slots are free at each plan.
func TestQueuesTakeTurnsAcrossPlans(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		d := newDesk(t)
		queues := rapid.IntRange(2, 5).Draw(r, "queues")
		for i := range queues {
			d.submit(&task.Spec{Handler: "h", Queue: string(rune('a' + i))}, 100)
		}
		var turns []uint64
		for range 10 {
			w := d.worker(&logpb.Session{Slots: rapid.Uint32Range(1, 4).Draw(r, "slots"), Handlers: []string{"h"}})
			turns = append(turns, jobsOf(d.plan())...)
			d.finish(w)
			d.apply(&logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: w}}})
		}
		for i, job := range turns {
			require.EqualValues(r, i%queues+1, job, "turns: %v", turns)
		}
	})
}

// Within a queue priority decides, then the order of submit, whatever class of worker the jobs
// ask for.
func TestPriorityDecidesWithinAQueueWhateverTheClass(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	w := d.worker(&logpb.Session{Slots: 1, Handlers: []string{"a", "b", "c"}, Labels: []*logpb.Pair{{Key: "x", Value: "y"}}})
	low := d.submit(&task.Spec{Handler: "a", Priority: -1000}, 1)
	first := d.submit(&task.Spec{Handler: "c"}, 1)
	second := d.submit(&task.Spec{Handler: "b"}, 1)
	third := d.submit(&task.Spec{Handler: "a"}, 1)
	high := d.submit(&task.Spec{Handler: "b", Priority: 1000, Require: []task.Pair{{Key: "x", Value: "y"}}}, 1)
	var got []uint64
	for range 5 {
		got = append(got, jobsOf(d.plan())...)
		d.finish(w)
	}
	require.Equal(t, []uint64{high, first, second, third, low}, got)
}

// A class that has no room does not keep the rest of its queue from workers that the class cannot use.
func TestAFullClassBlocksNoOther(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.worker(&logpb.Session{Slots: 1, Handlers: []string{"a"}})
	d.worker(&logpb.Session{Slots: 1, Handlers: []string{"b"}})
	a := d.submit(&task.Spec{Handler: "a", Priority: 5}, 100_000)
	b := d.submit(&task.Spec{Handler: "b"}, 1)
	require.ElementsMatch(t, []uint64{a, b}, jobsOf(d.plan()))
}

// An exclusive task needs a free slot. It gets one, although tasks behind it and of other queues could be granted in
// advance all the time.
func TestExclusiveTasksAreNotStarvedByWhatIsFetchedInAdvance(t *testing.T) {
	t.Parallel()
	for _, queue := range []string{"default", "another"} {
		d := newDesk(t)
		w := d.worker(&logpb.Session{Slots: 2, Handlers: []string{"h"}})
		d.f.Ran(w, Run{Job: 1, Count: 100, Total: 100 * time.Millisecond})
		d.submit(&task.Spec{Handler: "h", Queue: queue}, 100_000)
		d.plan()
		serial := d.submit(&task.Spec{Handler: "h", Serial: true, Priority: 1}, 1)
		for rounds := 0; !slices.Contains(jobsOf(d.granted), serial); rounds++ {
			require.Less(t, rounds, 20, "it starves")
			d.finishHalf(w)
			d.plan()
		}
	}
}

// finishHalf ends half of what a session holds: that is when workers report.
func (d *desk) finishHalf(session uint64) {
	d.t.Helper()
	s, _ := d.m.Session(session)
	left := (s.Assigned + 1) / 2
	o := &logpb.Report{Session: session}
	d.m.Held(session, func(h fsm.HeldTask) {
		if n := min(left, h.Count); n > 0 {
			left -= n
			o.Groups = append(o.Groups, &logpb.ReportGroup{
				Job: h.Job, TokenOffset: h.TokenOffset, Outcome: uint32(task.OutcomeSucceeded), Ranges: []*logpb.Range{{First: h.First, Count: n}},
			})
		}
	})
	d.apply(&logpb.Op{Op: &logpb.Op_Report{Report: o}})
}

// Large classes that no connected worker accepts cost no view, and hide nothing.
func TestClassesThatNobodyAcceptsHideNothing(t *testing.T) {
	t.Parallel()
	for _, queue := range []string{"a", "z"} {
		d := newDesk(t)
		d.worker(&logpb.Session{Slots: 1, Handlers: []string{"h"}})
		away := d.worker(&logpb.Session{Slots: 1, Handlers: []string{"away"}})
		d.f.Detach(away, d.f.streamOf(away))
		for i := range 16 {
			d.submit(&task.Spec{Handler: fmt.Sprint("nobody", i), Queue: queue}, task.MaxTasks)
			d.submit(&task.Spec{Handler: "away", Queue: fmt.Sprint(queue, i)}, task.MaxTasks)
		}
		job := d.submit(&task.Spec{Handler: "h", Queue: "m"}, 1)
		d.views = 0
		require.Equal(t, []uint64{job}, jobsOf(d.plan()))
		require.LessOrEqual(t, d.views, 2, "one that plans, and one that finds nothing more")
	}
}
