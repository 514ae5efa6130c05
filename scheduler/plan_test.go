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

// anyInput draws a view of a few classes, jobs and workers, and what the workers may
// hold.
func anyInput(t *rapid.T) scheduler.Input {
	v := &fsm.View{}
	id := uint64(1)
	for range rapid.IntRange(0, 4).Draw(t, "classes") {
		c := fsm.ClassView{}
		for range rapid.IntRange(0, 5).Draw(t, "jobs") {
			j := fsm.JobView{ID: id, Policy: rapid.SampledFrom([]task.Policy{task.LeastLoaded, task.Random}).Draw(t, "policy")}
			j.Exclusive = rapid.Bool().Draw(t, "exclusive")
			next := uint32(0)
			for range rapid.IntRange(1, 3).Draw(t, "ranges") {
				next += rapid.Uint32Range(0, 10).Draw(t, "gap")
				n := rapid.Uint32Range(1, 500).Draw(t, "count")
				j.Ranges = append(j.Ranges, fsm.Range{First: next, Count: n})
				j.Budget += n
				next += n
			}
			if j.Exclusive {
				j.Ranges, j.Budget = []fsm.Range{{First: 0, Count: 1}}, 1
			} else if rapid.Bool().Draw(t, "limited") {
				j.Budget = rapid.Uint32Range(1, j.Budget).Draw(t, "budget")
			}
			c.Jobs = append(c.Jobs, j)
			id++
		}
		v.Classes = append(v.Classes, c)
	}
	in := scheduler.Input{View: v, Runs: map[uint64]time.Duration{}, Seed: rapid.Uint64().Draw(t, "seed")}
	for job := uint64(1); job < id; job++ {
		if rapid.Bool().Draw(t, "known") {
			in.Runs[job] = time.Duration(rapid.Int64Range(1, int64(time.Second)).Draw(t, "run"))
		}
	}
	for i := range rapid.IntRange(0, 6).Draw(t, "workers") {
		s := fsm.SessionView{ID: uint64(100 + i), Slots: rapid.Uint32Range(1, 8).Draw(t, "slots"), Accepts: make([]bool, len(v.Classes))}
		s.Assigned = rapid.Uint32Range(0, s.Slots+4).Draw(t, "assigned")
		for k := range s.Accepts {
			s.Accepts[k] = rapid.Bool().Draw(t, "accepts")
		}
		v.Sessions = append(v.Sessions, s)
		extra := int32(scheduler.Away)
		if rapid.IntRange(0, 4).Draw(t, "connected") > 0 {
			extra = rapid.Int32Range(0, 100).Draw(t, "extra")
		}
		in.Extra = append(in.Extra, extra)
	}
	return in
}

// What a plan may never do, whatever it is asked.
func TestPlanKeepsLimits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput(t)
		plan := scheduler.Plan(in)
		jobs := map[uint64]*fsm.JobView{}
		class := map[uint64]int{}
		for c := range in.View.Classes {
			for k := range in.View.Classes[c].Jobs {
				j := &in.View.Classes[c].Jobs[k]
				jobs[j.ID], class[j.ID] = j, c
			}
		}
		sessions, extras := map[uint64]fsm.SessionView{}, map[uint64]int32{}
		for i, s := range in.View.Sessions {
			sessions[s.ID], extras[s.ID] = s, in.Extra[i]
		}
		given := map[uint64]uint32{}
		load := map[uint64]uint32{}
		seen := map[task.ID]bool{}
		for _, a := range plan {
			require.Positive(t, a.Count)
			j, s := jobs[a.Job], sessions[a.Session]
			extra := extras[a.Session]
			require.NotEqualValues(t, scheduler.Away, extra, "a grant to a worker without a stream")
			require.True(t, s.Accepts[class[a.Job]], "a grant to a worker that cannot run it")
			given[a.Job] += a.Count
			load[a.Session] += a.Count
			limit := s.Slots + uint32(extra)
			if j.Exclusive {
				limit = s.Slots
			}
			require.LessOrEqual(t, s.Assigned+load[a.Session], limit, "a worker holds more than it may")
			for i := a.First; i < a.First+a.Count; i++ {
				require.False(t, seen[task.ID{Job: a.Job, Index: i}], "task %d.%d twice", a.Job, i)
				seen[task.ID{Job: a.Job, Index: i}] = true
				require.True(t, slices.ContainsFunc(j.Ranges, func(r fsm.Range) bool { return i >= r.First && i < r.First+r.Count }))
			}
		}
		for id, n := range given {
			require.LessOrEqual(t, n, jobs[id].Budget)
		}
	})
}

// Work is left over only where nobody has room for it.
func TestPlanLeavesNobodyIdle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput(t)
		load, given := map[uint64]uint32{}, map[uint64]uint32{}
		for _, a := range scheduler.Plan(in) {
			load[a.Session] += a.Count
			given[a.Job] += a.Count
		}
		for c, class := range in.View.Classes {
			for _, j := range class.Jobs {
				if j.Exclusive || given[j.ID] == j.Budget {
					continue
				}
				for i, s := range in.View.Sessions {
					if extra := in.Extra[i]; extra != scheduler.Away && s.Accepts[c] {
						require.GreaterOrEqual(t, s.Assigned+load[s.ID], s.Slots+uint32(extra), "worker %d idles while job %d waits", s.ID, j.ID)
					}
				}
			}
		}
	})
}

// The same input gives the same plan, in whatever order the workers are listed, and the
// input is left as it was.
func TestPlanIsPure(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput(t)
		first := scheduler.Plan(in)
		rand.Shuffle(len(in.View.Sessions), func(i, j int) {
			in.View.Sessions[i], in.View.Sessions[j] = in.View.Sessions[j], in.View.Sessions[i]
			in.Extra[i], in.Extra[j] = in.Extra[j], in.Extra[i]
		})
		second := scheduler.Plan(in)
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
	in := scheduler.Input{Seed: 7, View: &fsm.View{Classes: []fsm.ClassView{{
		Jobs: []fsm.JobView{{ID: 1, Policy: policy, Budget: tasks, Ranges: []fsm.Range{{First: 0, Count: tasks}}}},
	}}}}
	for i, n := range slots {
		in.View.Sessions = append(in.View.Sessions, fsm.SessionView{ID: uint64(i + 1), Slots: n, Accepts: []bool{true}})
		in.Extra = append(in.Extra, 0)
	}
	return in
}

func TestLeastLoadedFillsByShareOfSlots(t *testing.T) {
	t.Parallel()
	require.Equal(t, map[uint64]uint32{1: 2, 2: 4, 3: 6}, loadOf(scheduler.Plan(arrayInput(12, task.LeastLoaded, 4, 8, 12))))
}

func TestRandomIsEvenInTheLongRun(t *testing.T) {
	t.Parallel()
	const plans, tasks = 200, 300
	total := map[uint64]float64{}
	for seed := range uint64(plans) {
		in := arrayInput(tasks, task.Random, 300, 300, 300)
		in.Seed = seed
		for worker, n := range loadOf(scheduler.Plan(in)) {
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
	in.View.Classes = append([]fsm.ClassView{{Jobs: []fsm.JobView{{ID: 9, Budget: 5, Ranges: []fsm.Range{{First: 0, Count: 5}}}}}}, in.View.Classes...)
	in.View.Sessions[0].Accepts = []bool{false, true}
	require.Equal(t, map[uint64]uint32{1: 4}, loadOf(scheduler.Plan(in)))
}

// Tasks that may have payloads are held in memory by who has them: fewer of them go to a worker
// in advance, and none where those that it has are as many.
func TestFewerTasksWithPayloadsAreHeldInAdvance(t *testing.T) {
	t.Parallel()
	const tasks, slots, heavyMost = 100_000, 4, 4096
	held := func(light bool, assigned uint32) uint32 {
		in := arrayInput(tasks, task.LeastLoaded, slots)
		in.Extra[0], in.View.Sessions[0].Assigned = task.MaxOutstanding, assigned
		in.View.Classes[0].Jobs[0].Light = light
		got := assigned
		for _, n := range loadOf(scheduler.Plan(in)) {
			got += n
		}
		return got
	}
	require.EqualValues(t, slots+heavyMost, held(false, 0))
	require.EqualValues(t, 2*heavyMost, held(false, 2*heavyMost))
	require.EqualValues(t, task.MaxOutstanding, held(true, 0), "all of a plan")
	require.EqualValues(t, slots+task.MaxOutstanding, held(true, slots))

	in := arrayInput(tasks, task.LeastLoaded, slots)
	in.Extra[0], in.View.Classes[0].Jobs[0].Light, in.View.Next = task.MaxOutstanding, true, "another class"
	require.EqualValues(t, slots+heavyMost, loadOf(scheduler.Plan(in))[1], "tasks with payloads may wait behind those that are shown")
}

// Thousands of workers get no message for a few no-ops each, once they are known to be such:
// other plans serve the others. Where nothing is known, or tasks take their time, they are
// spread over as many as before.
func TestAMessageIsWorthItsWork(t *testing.T) {
	t.Parallel()
	slots := slices.Repeat([]uint32{4}, 2000)
	plan := func(run time.Duration) []*logpb.Assign {
		in := arrayInput(300_000, task.LeastLoaded, slots...)
		for i := range in.Extra {
			in.Extra[i] = task.MaxOutstanding
		}
		in.Runs = map[uint64]time.Duration{in.View.Classes[0].Jobs[0].ID: run}
		return scheduler.Plan(in)
	}
	messages := func(run time.Duration) int { return len(loadOf(plan(run))) }
	share := func(run time.Duration) uint32 {
		return slices.MaxFunc(plan(run), func(a, b *logpb.Assign) int { return cmp.Compare(a.Count, b.Count) }).Count
	}
	long := messages(10 * time.Millisecond)
	require.Greater(t, long, 200)
	require.Equal(t, 256, messages(0), "a few hundred try it")
	require.Less(t, messages(time.Microsecond), long/10)
	require.EqualValues(t, 2048, share(time.Microsecond), "20,000 would be 5 ms of work")
	require.EqualValues(t, 200, share(100*time.Microsecond), "5 ms of work for four slots")
	require.EqualValues(t, 300_000/2000/4, share(10*time.Millisecond), "an even share in four rounds")
}

// Of thousands of workers a few hundred get a task of a job of which nobody knows how long its
// tasks take, until their reports tell. What is behind it does not overtake it, and small jobs
// do not wait for each other.
func TestAFewTryAJobFirst(t *testing.T) {
	t.Parallel()
	slots := slices.Repeat([]uint32{4}, 2000)
	in := arrayInput(300_000, task.LeastLoaded, slots...)
	class := &in.View.Classes[0]
	class.Jobs = append(class.Jobs, fsm.JobView{ID: 2, Budget: 10, Ranges: []fsm.Range{{First: 0, Count: 10}}})
	plan := scheduler.Plan(in)
	require.Len(t, plan, 256)
	for _, a := range plan {
		require.EqualValues(t, 1, a.Job)
		require.EqualValues(t, 1, a.Count)
	}
	in.Runs = map[uint64]time.Duration{1: time.Hour}
	require.Len(t, scheduler.Plan(in), 4096, "who is known to take its time gets all that a plan has room for")

	in = arrayInput(1, task.LeastLoaded, slots...)
	class = &in.View.Classes[0]
	for id := uint64(2); id <= 1000; id++ {
		class.Jobs = append(class.Jobs, fsm.JobView{ID: id, Budget: 1, Ranges: []fsm.Range{{First: 0, Count: 1}}})
	}
	require.Len(t, scheduler.Plan(in), 1000)
}
