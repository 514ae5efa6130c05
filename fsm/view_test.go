package fsm_test

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// What a view allocates tells how much it looks at. It is not parallel: others allocate, too.
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

// shelf is jobs of one queue, a task each, in classes of which there are more than a view shows.
type shelf struct {
	*testBundle
	labels []task.Pair
	jobs   map[uint64]*task.Spec
	// workers is the labels that those who are connected have, by session.
	workers map[uint64][]task.Pair
	opened  int
}

// run says whether a worker with these labels can run a job.
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

// check compares a view with that, and returns cut.
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

// end ends a job, and has the machine forget it.
func (s *shelf) end(id uint64) {
	s.must(cancelJobOp(id))
	s.m.Flushed(s.m.Cut())
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

// A worker that comes at the place of one that has gone is asked anew, also where the two have met no view.
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

// A job that any of thousands could run is offered to as many as were asked for, from another one on each time, and
// one that a single one can run to that.
func TestCandidatesAreFoundHoweverManyCannot(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	labels := manyLabels(1000)
	ids := make([]uint64, len(labels))
	for i, l := range labels {
		ids[i] = b.openAble(fmt.Sprint("w", i), 1, l)
	}
	of := func(turn uint64, require ...task.Pair) (out []uint64) {
		spec := &task.Spec{Handler: "h", Require: require}
		spec.SetDefaults()
		for _, s := range b.m.Candidates(spec, 4, turn) {
			out = append(out, s.ID)
		}
		return out
	}
	require.Equal(t, ids[:4], of(0))
	require.Equal(t, ids[500:504], of(500))
	require.Equal(t, append(slices.Clone(ids[998:]), ids[:2]...), of(998))
	for _, turn := range []uint64{0, 700, 999, math.MaxUint64} {
		require.Equal(t, []uint64{ids[700]}, of(turn, labels[700]))
	}
	require.Empty(t, of(0, labels[1], labels[2]))
}

// What workers can run is told by handler, command, queue and label, whichever are rare.
func TestWhoAcceptsAJob(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	zone := func(z string) []*logpb.Pair { return []*logpb.Pair{{Key: "zone", Value: z}} }
	for i, s := range []*logpb.Session{
		{Handlers: []string{"h"}},
		{Handlers: []string{"h", "g"}, Labels: zone("a")},
		{Handlers: []string{"h"}, Labels: zone("b"), Queues: []string{"q"}},
		{Commands: true, Labels: zone("a"), Queues: []string{"q", "default"}},
	} {
		s.Worker, s.Nonce, s.Slots = fmt.Sprint(i), []byte{1}, 1
		b.must(&logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Session: s}}})
	}
	for _, c := range []struct {
		spec task.Spec
		want []uint64
	}{
		{task.Spec{Handler: "h"}, []uint64{1, 2}},
		{task.Spec{Handler: "g"}, []uint64{2}},
		{task.Spec{Handler: "h", Queue: "q"}, []uint64{1, 2, 3}},
		{task.Spec{Handler: "h", Queue: "q", Require: []task.Pair{{Key: "zone", Value: "b"}}}, []uint64{3}},
		{task.Spec{Handler: "h", Require: []task.Pair{{Key: "zone", Value: "b"}}}, nil},
		{task.Spec{Command: []string{"true"}}, []uint64{4}},
		{task.Spec{Command: []string{"true"}, Queue: "other"}, nil},
		{task.Spec{Handler: "none"}, nil},
	} {
		c.spec.SetDefaults()
		var got []uint64
		for _, s := range b.m.Candidates(&c.spec, 10, 0) {
			got = append(got, s.ID)
		}
		require.Equal(t, c.want, got, "%+v", c.spec)
	}
}
