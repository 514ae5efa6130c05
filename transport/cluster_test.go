package transport_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker"
)

func square(_ context.Context, t *worker.Task) ([]byte, error) {
	n, err := strconv.Atoi(string(t.Payload))
	return []byte(strconv.Itoa(n * n)), err
}

func TestSquaresInBothOrders(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	for i := range 2 {
		c.Worker(worker.Config{Name: fmt.Sprintf("w%d", i), Slots: 2, Handlers: map[string]worker.Handler{"square": square}})
	}
	cl := c.Client()
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	const n = 1000
	var inputs []string
	for i := range n {
		inputs = append(inputs, strconv.Itoa(i))
	}
	job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "square"}, Payloads: client.Strings(inputs...)})
	require.NoError(t, err)
	next := uint32(0)
	for r, err := range job.Results(ctx) {
		require.NoError(t, err)
		require.Equal(t, next, r.Index)
		require.Equal(t, strconv.Itoa(int(next*next)), string(r.Output))
		next++
	}
	require.EqualValues(t, n, next)
	seen := map[uint32]bool{}
	for r, err := range job.AsCompleted(ctx) {
		require.NoError(t, err)
		require.False(t, seen[r.Index])
		seen[r.Index] = true
	}
	require.Len(t, seen, n)
	v, err := cl.Verify(ctx)
	require.NoError(t, err)
	require.True(t, v.OK, "%+v", v)
	c.CheckInvariants()
}

func TestLeadershipIsHandedOverOnRequest(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	cl := c.Client()
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	var before client.ClusterInfo
	var err error
	// A server that has yet to hear of the leader may answer, and knows of nobody.
	c.Eventually(func() bool {
		before, err = cl.Status(ctx)
		return err == nil && len(before.Servers) == 3
	}, "the status of all servers")
	term := before.Term
	for _, s := range before.Servers {
		l, err := cl.TransferLeader(ctx, s.ID)
		require.NoError(t, err)
		require.Equal(t, s.ID, l.ID)
		_, err = cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "square"}, Payloads: client.Strings("2")})
		require.NoError(t, err)
		again, err := cl.TransferLeader(ctx, s.ID)
		require.NoError(t, err)
		require.Equal(t, l, again, "it leads already")
		require.GreaterOrEqual(t, l.Term, term)
		term = l.Term
	}
	leader := before.Servers[len(before.Servers)-1].ID
	l, err := cl.TransferLeader(ctx, "")
	require.NoError(t, err)
	require.NotEqual(t, leader, l.ID)
	require.Greater(t, l.Term, term)
	_, err = cl.TransferLeader(ctx, "nobody")
	require.ErrorIs(t, err, task.ErrNotFound)
	require.ErrorContains(t, err, "no voter")
	now, err := cl.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, l.ID, now.Leader, "a name that is not there changes nothing")
}

func TestAnOnlyServerKeepsItsPlace(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	_, err := c.Client().TransferLeader(ctx, "")
	require.ErrorIs(t, err, task.ErrConflict)
	_, err = c.Client().Submit(ctx, client.Request{Spec: task.Spec{Handler: "square"}, Payloads: client.Strings("2")})
	require.NoError(t, err)
}
