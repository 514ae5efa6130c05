package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/leader"
)

// three returns a leader and two followers, all of the same term, that know each other.
func three(t *testing.T, term uint64) (leader, one, two *double) {
	t.Helper()
	leader, one, two = newDouble(t), newDouble(t), newDouble(t)
	news := &rotav1.WatchLeaderResponse{Term: term, Leader: "real", LeaderAddr: leader.addr, Servers: []string{leader.addr, one.addr, two.addr}}
	for _, d := range []*double{leader, one, two} {
		d.initial, d.term, d.refuseHigher = news, term, true
		if d != leader {
			d.refuse = wire.ToStatus(&task.Error{Kind: task.KindUnavailable, Msg: "not the leader", Leader: leader.addr})
		}
	}
	return leader, one, two
}

// A server says that it leads in a term that never existed. The worker leaves it for the real leader, which has a
// lower term, without a restart.
func TestATermThatThereNeverWasIsForgotten(t *testing.T) {
	t.Parallel()
	for name, term := range map[string]uint64{"a little ahead": 100, "far ahead": 1 << 60} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			honest, one, fake := three(t, 5)
			fake.term, fake.refuse = term, nil
			fake.initial = &rotav1.WatchLeaderResponse{Term: term, Leader: "fake", LeaderAddr: fake.addr, Servers: []string{fake.addr}}
			done := make(chan error, 1)
			cfg := Config{Slots: 1, Handlers: map[string]Handler{"echo": echo}, Addrs: []string{fake.addr}}
			if term > leader.MaxTermLeap {
				// It is not even the only one that the worker was told of.
				cfg.Addrs = append(cfg.Addrs, honest.addr, one.addr)
			}
			w, _ := run1(t, cfg, done)
			if term < leader.MaxTermLeap {
				fake.tell(t, &rotav1.SessionResponse{}) // it is followed
				// The others are heard of.
				fake.set(func() {
					fake.initial = &rotav1.WatchLeaderResponse{Term: term, Leader: "fake", LeaderAddr: fake.addr, Servers: []string{honest.addr, one.addr, fake.addr}}
					fake.cut()
				})
			}
			honest.assign(t, handlerWork(1, 0, 1, "echo"))
			honest.await(t, 1, 0)
			eventually(t, "the real term", func() bool { return w.lease.highest() == 5 })
			if term > leader.MaxTermLeap {
				fake.set(func() { require.Empty(t, fake.beats, "it was never followed") })
			}
		})
	}
}

// The first term that a worker hears of may be any, if a majority has reached it.
func TestAHighTermIsFollowedWhereAMajorityHasReachedIt(t *testing.T) {
	t.Parallel()
	honest, one, two := three(t, 50*leader.MaxTermLeap)
	done := make(chan error, 1)
	run1(t, Config{Slots: 1, Handlers: map[string]Handler{"echo": echo}, Addrs: []string{one.addr, two.addr, honest.addr}}, done)
	honest.assign(t, handlerWork(1, 0, 1, "echo"))
	honest.await(t, 1, 0)
}

// An announcement of an absurd term does not take a worker off its leader.
func TestAnAbsurdTermThatIsAnnouncedIsNotFollowed(t *testing.T) {
	t.Parallel()
	leader, one, two := three(t, 5)
	fake := newDouble(t)
	lie := &rotav1.WatchLeaderResponse{Term: 1 << 60, Leader: "fake", LeaderAddr: fake.addr, Servers: leader.initial.Servers}
	done := make(chan error, 1)
	w, _ := run1(t, Config{Slots: 1, Handlers: map[string]Handler{"echo": echo}, Addrs: []string{leader.addr, one.addr, two.addr}}, done)
	leader.assign(t, handlerWork(1, 0, 1, "echo"))
	leader.await(t, 1, 0)
	one.leaders <- lie
	two.leaders <- lie
	eventually(t, "it was announced", func() bool { return len(one.leaders) == 0 || len(two.leaders) == 0 })
	leader.assign(t, handlerWork(2, 0, 1, "echo"))
	leader.await(t, 2, 0)
	require.EqualValues(t, 5, w.lease.highest())
	fake.set(func() { require.Empty(t, fake.hellos) })
}
