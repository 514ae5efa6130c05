package scheduler_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/scheduler"
	"github.com/rota-scheduler/rota/task"
)

// anyInput draws a view of a few queues, classes, jobs and workers, and what the workers may
// hold.
func anyInput(t *rapid.T) scheduler.Input {
	v := &fsm.View{}
	id := uint64(1)
	for q := range rapid.IntRange(0, 3).Draw(t, "queues") {
		shown := fsm.QueueView{Name: string(rune('a' + q))}
		first := len(v.Classes)
		for range rapid.IntRange(1, 3).Draw(t, "classes") {
			v.Classes = append(v.Classes, fsm.ClassView{More: rapid.Bool().Draw(t, "more")})
		}
		for range rapid.IntRange(1, 6).Draw(t, "jobs") {
			j := fsm.JobView{ID: id, Policy: rapid.SampledFrom([]task.Policy{task.LeastLoaded, task.Random}).Draw(t, "policy")}
			class := rapid.IntRange(first, len(v.Classes)-1).Draw(t, "class")
			j.Class, j.Exclusive = uint8(class), (class-first)%2 == 1
			v.Classes[j.Class].More = v.Classes[j.Class].More && !j.Exclusive
			next := uint32(0)
			for range rapid.IntRange(1, 3).Draw(t, "ranges") {
				next += rapid.Uint32Range(0, 10).Draw(t, "gap")
				n := rapid.Uint32Range(1, 500).Draw(t, "count")
				j.Ranges = append(j.Ranges, task.Range{First: next, Count: n})
				j.Budget += n
				next += n
			}
			if j.Exclusive {
				j.Ranges, j.Budget = []task.Range{{First: 0, Count: 1}}, 1
			} else if rapid.Bool().Draw(t, "limited") {
				j.Budget = rapid.Uint32Range(1, j.Budget).Draw(t, "budget")
			}
			shown.Jobs = append(shown.Jobs, j)
			id++
		}
		v.Queues = append(v.Queues, shown)
	}
	in := scheduler.Input{View: v, Runs: map[uint64]time.Duration{}, Seed: rapid.Uint64().Draw(t, "seed")}
	for job := uint64(1); job < id; job++ {
		if rapid.Bool().Draw(t, "known") {
			in.Runs[job] = time.Duration(rapid.Int64Range(1, int64(time.Second)).Draw(t, "run"))
		}
	}
	for i := range rapid.IntRange(0, 6).Draw(t, "workers") {
		s := fsm.SessionView{ID: uint64(100 + i), Slots: rapid.Uint32Range(1, 8).Draw(t, "slots"), Able: i}
		s.Assigned = rapid.Uint32Range(0, s.Slots+4).Draw(t, "assigned")
		s.Extra = rapid.Int32Range(0, 300).Draw(t, "extra")
		for k := range v.Classes {
			if rapid.Bool().Draw(t, "accepts") {
				accept(v, k, i)
			}
		}
		v.Sessions = append(v.Sessions, s)
	}
	return in
}

// accept says that sessions with these abilities can run a class.
func accept(v *fsm.View, class, able int) {
	v.Classes[class].Accepting.Put(able)
}

func plan(in scheduler.Input) []*logpb.Assign { return scheduler.Plan(in) }

// jobsIn lists the jobs of a view.
func jobsIn(v *fsm.View) map[uint64]*fsm.JobView {
	jobs := map[uint64]*fsm.JobView{}
	for q := range v.Queues {
		for k := range v.Queues[q].Jobs {
			j := &v.Queues[q].Jobs[k]
			jobs[j.ID] = j
		}
	}
	return jobs
}

// Limits that no plan may break, whatever its input.
func TestPlanKeepsLimits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput(t)
		jobs := jobsIn(in.View)
		sessions := map[uint64]fsm.SessionView{}
		for _, s := range in.View.Sessions {
			sessions[s.ID] = s
		}
		given := map[uint64]uint32{}
		load := map[uint64]uint32{}
		seen := map[task.ID]bool{}
		for _, a := range plan(in) {
			require.Positive(t, a.Count)
			j, s := jobs[a.Job], sessions[a.Session]
			require.True(t, in.View.Classes[j.Class].Accepting.Has(s.Able), "a grant to a worker that cannot run it")
			given[a.Job] += a.Count
			load[a.Session] += a.Count
			limit := s.Slots + uint32(s.Extra)
			if j.Exclusive {
				limit = s.Slots
			}
			require.LessOrEqual(t, s.Assigned+load[a.Session], limit, "a worker holds more than it may")
			for i := a.First; i < a.First+a.Count; i++ {
				require.False(t, seen[task.ID{Job: a.Job, Index: i}], "task %d.%d twice", a.Job, i)
				seen[task.ID{Job: a.Job, Index: i}] = true
				require.True(t, slices.ContainsFunc(j.Ranges, func(r task.Range) bool { return i >= r.First && i < r.First+r.Count }))
			}
		}
		for id, n := range given {
			require.LessOrEqual(t, n, jobs[id].Budget)
		}
	})
}

// outcome is what a plan does to its input.
type outcome struct {
	load, given map[uint64]uint32
	// to is who was given something of a job.
	to map[uint64]map[uint64]bool
	// kept: some worker may be given nothing beyond its slots, for the sake of exclusive tasks.
	kept bool
}

func outcomeOf(in scheduler.Input) outcome {
	o := outcome{map[uint64]uint32{}, map[uint64]uint32{}, map[uint64]map[uint64]bool{}, false}
	for _, a := range plan(in) {
		o.load[a.Session] += a.Count
		o.given[a.Job] += a.Count
		if o.to[a.Job] == nil {
			o.to[a.Job] = map[uint64]bool{}
		}
		o.to[a.Job][a.Session] = true
	}
	for _, j := range jobsIn(in.View) {
		o.kept = o.kept || j.Exclusive
	}
	return o
}

// full says that a worker has no room left for a job.
func (o outcome) full(s fsm.SessionView, j fsm.JobView) bool {
	limit := s.Slots
	if !j.Exclusive && !o.kept {
		limit += uint32(s.Extra)
	}
	return s.Assigned+o.load[s.ID] >= limit
}

// waiting calls f for each job of which something is left, and each worker that could run it.
func (o outcome) waiting(v *fsm.View, f func(q fsm.QueueView, at int, s fsm.SessionView)) {
	for _, q := range v.Queues {
		for at, j := range q.Jobs {
			for _, s := range v.Sessions {
				if o.given[j.ID] < j.Budget && v.Classes[j.Class].Accepting.Has(s.Able) {
					f(q, at, s)
				}
			}
		}
	}
}

// Work is left over only if nobody has room for it, or if it must wait for the next plan, behind jobs that the view
// does not show.
func TestPlanLeavesNobodyIdle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput(t)
		o := outcomeOf(in)
		o.waiting(in.View, func(q fsm.QueueView, at int, s fsm.SessionView) {
			j := q.Jobs[at]
			behind := slices.ContainsFunc(q.Jobs, func(other fsm.JobView) bool {
				c := in.View.Classes[other.Class]
				return other.Class != j.Class && c.More && c.Accepting.Has(s.Able)
			})
			require.True(t, behind || o.full(s, j), "worker %d idles while job %d waits", s.ID, j.ID)
		})
	})
}

// If a job is left waiting, none after it in its queue was given room that it could use.
func TestPlanKeepsTheOrderOfAQueue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput(t)
		o := outcomeOf(in)
		o.waiting(in.View, func(q fsm.QueueView, at int, s fsm.SessionView) {
			for _, behind := range q.Jobs[at+1:] {
				if o.to[behind.ID][s.ID] {
					require.True(t, o.full(s, q.Jobs[at]), "job %d passes job %d at worker %d", behind.ID, q.Jobs[at].ID, s.ID)
				}
			}
		})
	})
}

// While queues compete for the same worker none gets a second turn before each has had its first,
// in the order of the view.
func TestQueuesTakeTurnsWithinAPlan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.Permutation([]string{"a", "b", "c", "d", "e"}).Draw(t, "queues")
		v := &fsm.View{Sessions: []fsm.SessionView{{ID: 1, Slots: rapid.Uint32Range(1, 19).Draw(t, "slots")}}}
		for i, name := range names {
			v.Classes = append(v.Classes, fsm.ClassView{})
			accept(v, i, 0)
			v.Queues = append(v.Queues, fsm.QueueView{Name: name, Jobs: []fsm.JobView{{ID: uint64(i), Class: uint8(i), Budget: 100, Ranges: []task.Range{{First: 0, Count: 100}}}}})
		}
		for i, a := range plan(scheduler.Input{View: v}) {
			require.EqualValues(t, i%len(names), a.Job)
		}
	})
}

// The same input gives the same plan, in whatever order the workers are listed, and the
// input is left as it was.
func TestPlanIsPure(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput(t)
		first := plan(in)
		rand.Shuffle(len(in.View.Sessions), func(i, j int) {
			in.View.Sessions[i], in.View.Sessions[j] = in.View.Sessions[j], in.View.Sessions[i]
		})
		second := plan(in)
		require.Equal(t, len(first), len(second))
		for i := range first {
			require.Equal(t, first[i].String(), second[i].String())
		}
	})
}

func loadOf(plan []*logpb.Assign) map[uint64]uint32 {
	load := map[uint64]uint32{}
	for _, a := range plan {
		load[a.Session] += a.Count
	}
	return load
}

func arrayInput(tasks uint32, policy task.Policy, slots ...uint32) scheduler.Input {
	v := &fsm.View{
		Classes: make([]fsm.ClassView, 1),
		Queues:  []fsm.QueueView{{Name: "q", Jobs: []fsm.JobView{{ID: 1, Policy: policy, Budget: tasks, Ranges: []task.Range{{First: 0, Count: tasks}}}}}},
	}
	accept(v, 0, 0)
	for i, n := range slots {
		v.Sessions = append(v.Sessions, fsm.SessionView{ID: uint64(i + 1), Slots: n})
	}
	return scheduler.Input{Seed: 7, View: v}
}

func TestLeastLoadedFillsByShareOfSlots(t *testing.T) {
	t.Parallel()
	require.Equal(t, map[uint64]uint32{1: 2, 2: 4, 3: 6}, loadOf(plan(arrayInput(12, task.LeastLoaded, 4, 8, 12))))
}

func TestRandomIsEvenInTheLongRun(t *testing.T) {
	t.Parallel()
	const plans, tasks = 200, 300
	total := map[uint64]float64{}
	for seed := range uint64(plans) {
		in := arrayInput(tasks, task.Random, 300, 300, 300)
		in.Seed = seed
		for worker, n := range loadOf(plan(in)) {
			total[worker] += float64(n)
		}
	}
	for worker, n := range total {
		require.InEpsilon(t, plans*tasks/3, n, 0.1, "worker %d", worker)
	}
	require.Len(t, total, 3)
}

// A class that nobody can run does not keep another from running.
func TestBlockedClassHidesNothing(t *testing.T) {
	t.Parallel()
	in := arrayInput(10, task.LeastLoaded, 4)
	in.View.Classes = append(in.View.Classes, fsm.ClassView{})
	jobs := &in.View.Queues[0].Jobs
	*jobs = append([]fsm.JobView{{ID: 9, Class: 1, Budget: 5, Ranges: []task.Range{{First: 0, Count: 5}}}}, *jobs...)
	require.Equal(t, map[uint64]uint32{1: 4}, loadOf(plan(in)))
}

// A worker keeps tasks that may have payloads in memory. So fewer of them go to a worker in advance, and none if it
// has that many already.
func TestFewerTasksWithPayloadsAreHeldInAdvance(t *testing.T) {
	t.Parallel()
	const tasks, slots, heavyMost = 100_000, 4, 4096
	held := func(light bool, assigned uint32) uint32 {
		in := arrayInput(tasks, task.LeastLoaded, slots)
		in.View.Sessions[0].Extra, in.View.Sessions[0].Assigned = task.MaxOutstanding, assigned
		in.View.Queues[0].Jobs[0].Light = light
		got := assigned
		for _, n := range loadOf(plan(in)) {
			got += n
		}
		return got
	}
	require.EqualValues(t, slots+heavyMost, held(false, 0))
	require.EqualValues(t, 2*heavyMost, held(false, 2*heavyMost))
	require.EqualValues(t, task.MaxOutstanding, held(true, 0), "all of a plan")
	require.EqualValues(t, slots+task.MaxOutstanding, held(true, slots))

	in := arrayInput(tasks, task.LeastLoaded, slots)
	in.View.Sessions[0].Extra, in.View.Queues[0].Jobs[0].Light, in.View.Next = task.MaxOutstanding, true, 7
	require.EqualValues(t, slots+heavyMost, loadOf(plan(in))[1], "tasks with payloads may wait behind those that are shown")
}

// Once tasks are known to be no-ops, thousands of workers do not each get a message for a few of them: other plans
// serve the other workers. If nothing is known, or tasks take their time, they are spread over as many workers as
// before.
func TestAMessageIsWorthItsWork(t *testing.T) {
	t.Parallel()
	slots := slices.Repeat([]uint32{4}, 2000)
	planOf := func(run time.Duration) []*logpb.Assign {
		in := arrayInput(300_000, task.LeastLoaded, slots...)
		for i := range in.View.Sessions {
			in.View.Sessions[i].Extra = task.MaxOutstanding
		}
		in.Runs = map[uint64]time.Duration{1: run}
		return plan(in)
	}
	messages := func(run time.Duration) int { return len(loadOf(planOf(run))) }
	share := func(run time.Duration) uint32 {
		return slices.MaxFunc(planOf(run), func(a, b *logpb.Assign) int { return cmp.Compare(a.Count, b.Count) }).Count
	}
	long := messages(10 * time.Millisecond)
	require.Greater(t, long, 200)
	require.Equal(t, 256, messages(0), "a few hundred try it")
	require.Less(t, messages(time.Microsecond), long/10)
	require.EqualValues(t, 2048, share(time.Microsecond), "20,000 would be 5 ms of work")
	require.EqualValues(t, 200, share(100*time.Microsecond), "5 ms of work for four slots")
	require.EqualValues(t, 300_000/2000/4, share(10*time.Millisecond), "an even share in four rounds")
}

// While nobody knows how long the tasks of a job take, a few hundred of thousands of workers get one, until their
// reports tell. Jobs behind it do not overtake it, and small jobs do not wait for each other.
func TestAFewTryAJobFirst(t *testing.T) {
	t.Parallel()
	slots := slices.Repeat([]uint32{4}, 2000)
	in := arrayInput(300_000, task.LeastLoaded, slots...)
	jobs := &in.View.Queues[0].Jobs
	*jobs = append(*jobs, fsm.JobView{ID: 2, Budget: 10, Ranges: []task.Range{{First: 0, Count: 10}}})
	got := plan(in)
	require.Len(t, got, 256)
	for _, a := range got {
		require.EqualValues(t, 1, a.Job)
		require.EqualValues(t, 1, a.Count)
	}
	in.Runs = map[uint64]time.Duration{1: time.Hour}
	require.Len(t, plan(in), 4096, "who is known to take its time gets all that a plan has room for")

	in = arrayInput(1, task.LeastLoaded, slots...)
	jobs = &in.View.Queues[0].Jobs
	for id := uint64(2); id <= 1000; id++ {
		*jobs = append(*jobs, fsm.JobView{ID: id, Budget: 1, Ranges: []task.Range{{First: 0, Count: 1}}})
	}
	require.Len(t, plan(in), 1000)
}
