package fsm_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// The allocations of a view show how much it looks at. The test is not parallel, because other tests allocate too.
func TestAViewCostsWhatItShows(t *testing.T) {
	for _, s := range whoHasRoom {
		cost := func(classes int) float64 {
			b, extra := manyClasses(t, classes, s.able, s.other), without(s.away)
			return testing.AllocsPerRun(5, func() { b.view(extra) })
		}
		few, many := cost(400), cost(4000)
		require.Less(t, many, 2*few+10, "%s: %v times for 400 classes", s.name, few)
	}
}

// shelf is jobs of one task each in one queue, in more classes than a view shows.
type shelf struct {
	*testBundle
	labels []task.Pair
	jobs   map[uint64]*task.Spec
	// workers is the labels that those who are connected have, by session.
	workers map[uint64][]task.Pair
	opened  int
}

// run reports whether a worker with these labels can run a job.
func run(labels []task.Pair, s *task.Spec) bool {
	return !slices.ContainsFunc(s.Require, func(p task.Pair) bool { return !slices.Contains(labels, p) })
}

// want is the jobs that a view must show, in order; cut says that it has no room for all classes.
func (s *shelf) want() (out []uint64, cut bool) {
	type class [2]task.Pair
	heads := map[class]uint64{}
	for id, spec := range s.jobs {
		for _, labels := range s.workers {
			if run(labels, spec) {
				out = append(out, id)
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b uint64) int {
		return cmp.Or(cmp.Compare(s.jobs[b].Priority, s.jobs[a].Priority), cmp.Compare(a, b))
	})
	const most = 256
	for k, id := range out {
		c := class(s.jobs[id].Require)
		if heads[c] == 0 {
			if len(heads) == most {
				return out[:k], true
			}
			heads[c] = id
		}
	}
	return out, false
}

// check compares a view with want, and returns cut.
func (s *shelf) check() bool {
	require.Empty(s.t, s.m.CheckInvariants())
	v := s.view(roomy)
	require.Empty(s.t, s.m.CheckInvariants())
	var got []uint64
	for _, q := range v.Queues {
		for _, j := range q.Jobs {
			got = append(got, j.ID)
			for _, w := range v.Sessions {
				require.Equal(s.t, run(s.workers[w.ID], s.jobs[j.ID]), v.Classes[j.Class].Accepting.Has(w.Able), "job %d, session %d", j.ID, w.ID)
			}
		}
	}
	want, cut := s.want()
	require.Equal(s.t, want, got)
	return cut
}

// some is one of the keys of a map.
func some[V any](r *rand.Rand, of map[uint64]V) uint64 {
	all := slices.Sorted(maps.Keys(of))
	return all[r.IntN(len(all))]
}

// step changes what waits or who could run it.
func (s *shelf) step(r *rand.Rand) {
	switch kind := r.IntN(10); {
	case kind < 3:
		for range 1 + r.IntN(150) {
			i := 1 + r.IntN(len(s.labels)-1)
			spec := &task.Spec{Handler: "h", Priority: r.Int32N(3), Require: []task.Pair{s.labels[r.IntN(i)], s.labels[i]}}
			s.jobs[s.submit(spec, 1)] = spec
		}
	case kind < 5:
		for n := 1 + r.IntN(60); n > 0 && len(s.jobs) > 0; n-- {
			s.end(some(r, s.jobs))
		}
	case kind < 7: // those at the head of the line go
		line, _ := s.want()
		for _, id := range line[:min(3, len(line))] {
			s.end(id)
		}
	case kind < 9:
		for range 1 + r.IntN(4) {
			labels := s.labels[r.IntN(10) : 10+r.IntN(len(s.labels)-9)]
			s.opened++
			s.workers[s.openAble(fmt.Sprint("w", s.opened), 1, labels...)] = labels
		}
	case len(s.workers) > 0:
		id := some(r, s.workers)
		s.closeSession(id)
		delete(s.workers, id)
	}
}

// end ends a job, and makes the machine forget it.
func (s *shelf) end(id uint64) {
	s.must(cancelJobOp(id))
	s.m.Flushed(s.m.TakeBatch())
	delete(s.jobs, id)
}

// Whatever has changed since the last one, a view shows the first jobs of the first classes that anybody has room
// for, in their order, and knows who can run them.
func TestViewsFollowWhatWaitsAndWhoCouldRunIt(t *testing.T) {
	t.Parallel()
	const rounds, views = 2, 30
	cut := 0
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := &shelf{testBundle: newBundle(t), labels: manyLabels(30), jobs: map[uint64]*task.Spec{}, workers: map[uint64][]task.Pair{}}
		for range views {
			for range 1 + r.IntN(3) {
				s.step(r)
			}
			if s.check() {
				cut++
			}
		}
	}
	require.Greater(t, cut, rounds*views/4)
	require.Less(t, cut, rounds*views*3/4)
}

// A worker that takes the place of one that has gone is checked again, even if no view was taken in between.
func TestAWorkerInThePlaceOfAnotherIsAskedAnew(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	labels := manyLabels(2)
	job := b.submit(&task.Spec{Handler: "h", Require: labels[:1]}, 1)
	shown := func() (out []uint64) {
		for _, q := range b.view(roomy).Queues {
			for _, j := range q.Jobs {
				out = append(out, j.ID)
			}
		}
		return out
	}
	for i := range 20 {
		can := b.openAble(fmt.Sprint("can", i), 1, labels[0])
		require.Equal(t, []uint64{job}, shown())
		b.closeSession(can)
		cannot := b.openAble(fmt.Sprint("cannot", i), 1, labels[1])
		require.Empty(t, shown())
		require.Empty(t, b.m.CheckInvariants())
		b.closeSession(cannot)
		for k := range i {
			b.closeSession(b.openAble(fmt.Sprint("passes", k), 1, labels[k%2], task.Pair{Key: "k", Value: fmt.Sprint(k)}))
		}
	}
}

func TestAViewShowsSessionsInOrder(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for _, w := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		b.openSession(w, 1)
	}
	for range 20 {
		for i, s := range b.view(roomy).Sessions {
			require.EqualValues(t, i+1, s.ID)
		}
	}
}

// Only tasks with no payload, or a small one, are light.
func TestAViewTellsLightTasksFromOthers(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.openSession("w", 1)
	array := b.submit(&task.Spec{Handler: "h"}, 2)
	shared := b.submit(&task.Spec{Handler: "h", SharedPayload: make([]byte, 2000)}, 2)
	own := b.must(submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: packed(2)})).Job
	light := map[uint64]bool{}
	for _, q := range b.view(roomy).Queues {
		for _, j := range q.Jobs {
			light[j.ID] = j.Light
		}
	}
	require.Equal(t, map[uint64]bool{array: true, shared: false, own: false}, light)
}
