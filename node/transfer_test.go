package node

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

func newHandover(ctx context.Context, r *aRaft) *handover {
	return &handover{
		self: fourServers[0].ID, raft: r, servers: serversOf, leader: hint(""), electionTimeout: time.Second,
		logger: silent, ending: ctx, running: &sync.WaitGroup{},
	}
}

// The message that starts the other server's election may have arrived even if raft heard no answer to it.
func TestATransferThatRaftGaveUpMayHaveSucceeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &aRaft{state: raft.Leader, term: 3}
		gaveUp := errors.New("leadership transfer timeout")
		r.transfer = func() raft.Future { return failed(gaveUp) }
		h := newHandover(t.Context(), r)
		require.ErrorIs(t, h.transfer(t.Context(), ""), task.ErrConflict, "it leads on")
		r.transfer = func() raft.Future { r.term++; return failed(gaveUp) }
		require.NoError(t, h.transfer(t.Context(), ""), "it leads in another term, in which it was elected again")
		r.transfer = func() raft.Future { r.state = raft.Follower; return failed(gaveUp) }
		require.NoError(t, h.transfer(t.Context(), "n2"))
		require.ErrorIs(t, h.transfer(t.Context(), "n2"), errNotHere)
	})
}

func TestLeadershipGoesToVotersOnly(t *testing.T) {
	t.Parallel()
	r := &aRaft{state: raft.Leader, transfer: func() raft.Future { return failed(nil) }}
	h := newHandover(t.Context(), r)
	require.NoError(t, h.transfer(t.Context(), "n4"))
	require.ErrorIs(t, h.transfer(t.Context(), "n3"), task.ErrNotFound)
	require.ErrorIs(t, h.transfer(t.Context(), "n9"), task.ErrNotFound)
	h.servers = func() ([]raft.Server, error) { return fourServers[:1], nil }
	require.ErrorIs(t, h.transfer(t.Context(), ""), task.ErrConflict, "there is nobody else")
	require.NoError(t, h.transfer(t.Context(), "n1"), "it leads already")
}
