package main

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
)

func TestAJobOutlivesItsLeader(t *testing.T) {
	t.Parallel()
	c := startCluster(t, localcluster.Config{Servers: 3, Workers: 1, Slots: 4})
	info, err := c.WaitLeader(t.Context())
	require.NoError(t, err)
	cl, err := c.Client()
	require.NoError(t, err)
	defer cl.Close()
	job, err := cl.Submit(t.Context(), client.Request{
		Spec: task.Spec{Handler: "rota.sleep", SharedPayload: []byte("20ms")}, Count: 200,
	})
	require.NoError(t, err)

	leader := c.Server(info.Leader)
	count := 0
	for r, err := range job.AsCompleted(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, task.Succeeded, r.State)
		require.EqualValues(t, 1, r.Attempt)
		if count++; count == 50 {
			leader.Kill()
		}
	}
	require.Equal(t, 200, count)
	next, err := c.WaitLeader(t.Context(), leader.Name)
	require.NoError(t, err)
	require.Greater(t, next.Term, info.Term)

	require.False(t, leader.Running())
	require.NoError(t, leader.Start())
	require.NoError(t, c.WaitReady(t.Context()))
	require.NoError(t, leader.Signal(syscall.SIGSTOP))
	require.NoError(t, leader.Signal(syscall.SIGCONT))
	require.NoError(t, c.Stop(t.Context()))
	for _, p := range c.Processes() {
		require.False(t, p.Running(), p.Name)
	}
}

func TestALayoutIsKeptInItsFolder(t *testing.T) {
	t.Parallel()
	cfg := localcluster.Config{Dir: t.TempDir(), Servers: 3}
	first, err := localcluster.New(cfg)
	require.NoError(t, err)
	again, err := localcluster.New(cfg)
	require.NoError(t, err)
	require.Equal(t, first.Addrs(), again.Addrs())
	cfg.Servers = 5
	_, err = localcluster.New(cfg)
	require.ErrorContains(t, err, "is of a cluster of 3 servers, not 5")
}
