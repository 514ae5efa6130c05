package fsm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// 4,275 workers that offered as much as is allowed once took 1 GiB of a server's memory.
func TestWhatAllWorkersOfferIsBounded(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	large := func(name string, handlers int) *logpb.OpenSession {
		s := &logpb.Session{Worker: name, Nonce: []byte(name), Slots: 1}
		for i := range handlers {
			s.Handlers = append(s.Handlers, fmt.Sprintf("%04d%s", i, strings.Repeat("h", task.MaxName-4)))
		}
		return &logpb.OpenSession{Session: s}
	}
	open := func(o *logpb.OpenSession) fsm.Result {
		return b.apply(&logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: o}})[0]
	}
	const handlers = 4096
	fits := fsm.MaxSessionBytes / proto.Size(large("w0000", handlers).Session)
	n := 0
	var r fsm.Result
	for ; n <= fits; n++ {
		if r = open(large(fmt.Sprintf("w%04d", n), handlers)); r.Err != nil {
			break
		}
	}
	require.ErrorIs(t, r.Err, task.ErrExhausted)
	require.ErrorContains(t, r.Err, "fewer labels")
	require.Greater(t, n, fits*9/10)
	require.Empty(t, b.m.CheckInvariants())

	again := large("w0000", handlers)
	again.Session.Nonce, again.Replaces, again.ReplacesNonce = []byte("again"), 1, []byte("w0000")
	require.NoError(t, open(again).Err, "as much as it offered before")
	more := large("w0001", 2*handlers)
	more.Session.Nonce, more.Replaces, more.ReplacesNonce = []byte("again"), 2, []byte("w0001")
	require.ErrorIs(t, open(more).Err, task.ErrExhausted, "a worker may not grow beyond the bound")
	b.closeSession(3)
	require.NoError(t, open(large("new", handlers)).Err, "there is room again")
	require.Empty(t, b.m.CheckInvariants())
}

// A task that a worker had not started when it left does not count as an attempt: the next one gets the same number.
func TestWhatALeavingWorkerHadNotStartedIsNoAttempt(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		op      *logpb.CloseSession
		attempt uint32
	}{
		"unstarted": {&logpb.CloseSession{Graceful: true, Unstarted: true}, 1},
		"started":   {&logpb.CloseSession{Graceful: true}, 2},
		"lost":      {&logpb.CloseSession{Unstarted: true}, 2},
	} {
		b := newBundle(t)
		s := b.openSession("w", 1)
		job := b.submit(&task.Spec{Handler: "h"}, 1)
		b.plan(job, 0, 1, s)
		want.op.Id = s
		b.must(&logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: want.op}})
		require.EqualValues(t, 1, b.plan(job, 0, 1, b.openSession("v", 1)).Granted)
		info, ok := b.m.Task(job, 0)
		require.True(t, ok)
		require.Equal(t, want.attempt, info.Attempt, name)
	}
}

func TestAHelloIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	hello := func(nonce string, replaces uint64, proof string) fsm.Result {
		return b.apply(&logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{
			Session: &logpb.Session{Worker: "w", Slots: 1, Nonce: []byte(nonce)}, Replaces: replaces, ReplacesNonce: []byte(proof),
		}}})[0]
	}
	first := hello("a", 0, "")
	require.NoError(t, first.Err)
	again := hello("a", 0, "")
	require.True(t, again.Existed)
	require.Equal(t, first.Session, again.Session)
	require.ErrorIs(t, hello("b", 0, "").Err, task.ErrConflict, "a second live process of the same worker")
	for _, proof := range []string{"", "b", "A"} {
		require.ErrorIs(t, hello("b", first.Session, proof).Err, task.ErrConflict, "ids count up: anybody can name one")
	}
	replaced := hello("b", first.Session, "a")
	require.NoError(t, replaced.Err)
	require.NotEqual(t, first.Session, replaced.Session)
	_, open := b.m.Session(first.Session)
	require.False(t, open)
}
