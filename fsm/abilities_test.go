package fsm

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Which sessions accept a job follows from handler, command, queue and labels, whichever of these is rare.
func TestWhoAcceptsAJob(t *testing.T) {
	t.Parallel()
	m := New(nil, nil)
	zone := func(z string) []*logpb.Pair { return []*logpb.Pair{{Key: "zone", Value: z}} }
	for i, s := range []*logpb.Session{
		{Handlers: []string{"h"}},
		{Handlers: []string{"h", "g"}, Labels: zone("a")},
		{Handlers: []string{"h"}, Labels: zone("b"), Queues: []string{"q"}},
		{Commands: true, Labels: zone("a"), Queues: []string{"q", "default"}},
	} {
		s.Worker, s.Nonce, s.Slots = fmt.Sprint(i), []byte{1}, 1
		m.mustApply(t, &logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Session: s}}})
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
		var found, asked []uint64
		for _, s := range m.Candidates(&c.spec, 10, 0) {
			found = append(found, s.ID)
		}
		require.Equal(t, c.want, found, "%+v", c.spec)
		needs := needsOf(&c.spec)
		for id := uint64(1); id <= 4; id++ {
			if m.sessions[id].able.accept(&needs) {
				asked = append(asked, id)
			}
		}
		require.Equal(t, c.want, asked, "%+v", c.spec)
	}
}

// Workers that are alike share their abilities, which go with the last of them. The next new abilities get that
// place.
func TestWorkersThatAreAlikeShareTheirAbilities(t *testing.T) {
	t.Parallel()
	m := New(nil, nil)
	one, alike := m.opens(t, "one", 1, []string{"h"}, "a"), m.opens(t, "alike", 5, []string{"h"}, "a")
	other := m.opens(t, "other", 1, []string{"h"}, "b")
	require.Same(t, one.able, alike.able)
	require.NotSame(t, one.able, other.able)
	require.Equal(t, 2, one.able.sessions)
	require.Len(t, m.able, 2)
	place := one.able.at
	m.closes(t, one)
	require.Len(t, m.abilities, 2)
	m.closes(t, alike)
	require.Len(t, m.abilities, 1)
	require.Nil(t, m.able[place])
	require.Empty(t, m.offering[offer{offersLabel, "a", "yes"}])
	require.Empty(t, m.CheckInvariants())
	require.Equal(t, place, m.opens(t, "new", 1, []string{"g"}).able.at)
	require.Len(t, m.able, 2)
	require.Empty(t, m.CheckInvariants())
}

// Sessions with a free slot come first, so that the search for one does not visit the others.
func TestSessionsWithAFreeSlotStandFirst(t *testing.T) {
	t.Parallel()
	m := New(nil, nil)
	var all []*session
	for i := range 4 {
		all = append(all, m.opens(t, fmt.Sprint(i), 1, []string{"h"}))
	}
	j := m.submits(t, &task.Spec{Handler: "h"}, 4)
	able := all[0].able
	for n, of := range []int{1, 3, 0} {
		m.mustApply(t, &logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: &logpb.ApplyPlan{Assign: []*logpb.Assign{
			{Job: j.id, First: uint32(n), Count: 1, Session: all[of].pb.Id},
		}}}})
		require.Equal(t, 3-n, able.idle)
		require.GreaterOrEqual(t, all[of].member, able.idle)
		require.Empty(t, m.CheckInvariants())
	}
	require.Same(t, all[2], able.members[0])
	m.cancels(t, j)
	m.closes(t, all[2])
	require.Zero(t, able.idle)
	require.Empty(t, m.CheckInvariants())
}

// The newest abilities are remembered in the order in which they came, except those that have gone.
func TestWhichAbilitiesHaveComeSince(t *testing.T) {
	t.Parallel()
	m := New(nil, nil)
	var came []*session
	for i := range maxJoined + 1 {
		came = append(came, m.opens(t, fmt.Sprint(i), 1, []string{"h"}, fmt.Sprint("label", i)))
	}
	m.closes(t, came[maxJoined-1])
	for since := range came {
		joined, all := m.joinedSince(uint64(since))
		require.Equal(t, since > 0, all, "since %d: older ones are not remembered", since)
		var want []*abilities
		for i, s := range came[since:] {
			if all && since+i != maxJoined-1 {
				want = append(want, s.able)
			}
		}
		require.Equal(t, len(want), len(joined), "since %d", since)
		for i := range want {
			require.Same(t, want[i], joined[i])
		}
	}
	joined, all := m.joinedSince(m.fleet)
	require.True(t, all)
	require.Empty(t, joined)
}
