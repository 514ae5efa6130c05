package fsm_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/task"
)

// whatTheLeaderSees is what a leader derives at a given time, except what is lost with the leader: the order of the
// queues, and the places of abilities.
type whatTheLeaderSees struct {
	queues     map[string][]jobSeen
	candidates []uint64
	due        []uint64
	next       int64
	digest     uint64
}

// jobSeen is a job as a view shows it, with the sessions that can run it.
type jobSeen struct {
	fsm.JobView
	by []uint64
}

func see(t *testing.T, m *fsm.Machine, now int64) (seen whatTheLeaderSees) {
	t.Helper()
	for behind := true; behind; {
		behind = m.Advance(now, 0)
	}
	require.Empty(t, m.CheckInvariants())
	seen.queues = map[string][]jobSeen{}
	v := m.View(0, roomy)
	require.Zero(t, v.Next)
	for _, q := range v.Queues {
		for _, j := range q.Jobs {
			var by []uint64
			for _, s := range v.Sessions {
				if v.Classes[j.Class].Accepting.Has(s.Able) {
					by = append(by, s.ID)
				}
			}
			j.Class = 0
			seen.queues[q.Name] = append(seen.queues[q.Name], jobSeen{j, by})
		}
	}
	spec := &task.Spec{Handler: "g"}
	spec.SetDefaults()
	for _, s := range m.Candidates(spec, math.MaxInt16, 0) {
		seen.candidates = append(seen.candidates, s.ID)
	}
	slices.Sort(seen.candidates)
	seen.due, seen.next = m.Due(now, math.MaxInt)
	_, seen.digest = m.Digest()
	return seen
}

// A server may throw away what it has derived, at any time. It derives the same again from what is replicated, and
// every entry does the same on a server that derives again, on one that never calls Advance, and on one that has led
// from the beginning.
func TestWhatIsDerivedFollowsFromWhatIsReplicated(t *testing.T) {
	t.Parallel()
	const rounds, steps = 8, 200
	shown := map[string]int{}
	for seed := range uint64(rounds) {
		leader, follower := newLife(t, seed), newBundle(t)
		for step := range steps {
			ops := leader.ops()
			results := leader.applyOps(ops)
			follower.clock = leader.clock
			require.Equal(t, results, follower.apply(ops...), "seed %d, step %d", seed, step)
			leader.m.Advance(leader.clock+leader.r.Int64N(int64(time.Second)), 0)
			if step%7 == 0 { // at the same time on both, because there is no disk to ask
				leader.flush()
				follower.flush()
			}
			if step%20 != 0 {
				continue
			}
			follower.m.Derive()
			require.Empty(t, follower.m.CheckInvariants())
			now := leader.clock + int64(time.Second)
			want := see(t, leader.m, now)
			require.Equal(t, want, see(t, follower.m, now), "seed %d, step %d", seed, step)
			for _, name := range slices.Sorted(maps.Keys(want.queues)) {
				for _, j := range want.queues[name] {
					shown[fmt.Sprintf("in %d ranges", min(2, len(j.Ranges)))]++
				}
			}
			shown["candidates"] += len(want.candidates)
			shown["due"] += len(want.due)
		}
	}
	for _, what := range []string{"in 1 ranges", "in 2 ranges", "candidates", "due"} {
		require.Greater(t, shown[what], rounds, "%s: %v", what, shown)
	}
}
