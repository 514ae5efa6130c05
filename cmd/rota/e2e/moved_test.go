package e2e

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/api/jsonv1"
	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
)

// statusAt returns the servers in cluster status as one server answers it; none if it does not.
func (c *cluster) statusAt(p *localcluster.Process) []jsonv1.Server {
	c.t.Helper()
	out := c.status("-o", "json", "--addr", p.Addr)
	if out == "" {
		return nil
	}
	return parse[jsonv1.Status](c.t, out).Servers
}

// status is what cluster status prints, also while no server leads; "" if no server answers.
func (c *cluster) status(args ...string) string {
	c.t.Helper()
	return c.rota(append([]string{"cluster", "status"}, args...)...).stdout
}

// votesFrom waits until every running server reports that a server votes and at which address, and that
// this server reaches all others.
func (c *cluster) votesFrom(moved *localcluster.Process) {
	c.t.Helper()
	await(c.t, "a vote of "+moved.Name+" from "+moved.Addr, func() bool {
		for _, p := range c.Servers {
			servers := c.statusAt(p)
			if len(servers) != len(c.Servers) || slices.ContainsFunc(servers, func(s jsonv1.Server) bool {
				return !s.Voter || s.Problem != "" || s.State == "unreachable" || s.ID == moved.Name && s.Addr != moved.Addr
			}) {
				return false
			}
		}
		return true
	})
}

// served requires that each server answers a read and takes a submit, whoever leads.
func (c *cluster) served() {
	c.t.Helper()
	for _, p := range c.Servers {
		require.NoError(c.t, c.at(p, func(ctx context.Context, jobs rotav1.JobServiceClient) error {
			_, err := jobs.ListJobs(ctx, &rotav1.ListJobsRequest{})
			return err
		}), "a read at %s", p.Name)
		c.ok("submit", "--addr", p.Addr, "--", "true")
	}
	c.verify()
}

// move starts a server, which has ended, at other addresses.
func (c *cluster) move(p *localcluster.Process) {
	c.t.Helper()
	require.NoError(c.t, c.Move(p))
	require.NoError(c.t, p.Start())
}

// handOver makes a server the leader. On a busy machine it may need a second try.
func (c *cluster) handOver(to *localcluster.Process) {
	c.t.Helper()
	await(c.t, "leadership of "+to.Name, func() bool { return c.rota("cluster", "transfer-leader", to.Name).code == 0 })
}

func TestServerAtOtherAddressesJoinsAgainAndLeads(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3})
	moved := c.leader()
	require.NoError(t, moved.Stop(t.Context()))
	c.move(moved)
	c.votesFrom(moved)
	c.served()
	c.handOver(moved)
	c.served()
	c.ready(moved)
}

// A server with new addresses must not become leader in an election of the others: they would
// not find it.
func TestServerAtOtherAddressesDoesNotLeadBeforeItIsKnownThere(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3})
	submits := submitLoops(1, "s", submitWith(c.client(), task.Spec{Handler: noHandler}))
	submits.more(t, 20)
	c.requireOnce(submits.halt(t))
	leader := c.leader()
	moved := c.followers()[0]
	moved.Kill()
	leader.Kill()
	c.move(moved)
	await(t, "word of what is wrong", func() bool {
		return slices.ContainsFunc(c.statusAt(moved), func(s jsonv1.Server) bool { return s.ID == moved.Name && s.Problem != "" })
	})
	require.NoError(t, leader.Start())
	c.votesFrom(moved)
	c.served()
}

func TestServerWithoutItsDataAtOtherAddressesIsFound(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3})
	wiped := c.followers()[0]
	wiped.Kill()
	require.NoError(t, os.RemoveAll(c.dataDir(wiped)))
	c.move(wiped)
	c.votesFrom(wiped)
	c.served()
	c.handOver(wiped)
	c.served()
}

// As when all containers of a cluster are made anew: no server is where it was, also the leader that was killed in the
// middle of it all. Submits go on, and so does a worker with what it runs.
func TestAllServersAtOtherAddressesGoOnUnderLoad(t *testing.T) {
	t.Parallel()
	const tasks = 200
	c := lay(t, localcluster.Config{Servers: 3, Workers: 1, Slots: 4})
	for _, p := range c.Servers {
		require.NoError(t, p.Start())
	}
	leader, addrs := c.leader(), c.Addrs()
	for _, p := range c.Servers {
		require.NoError(t, c.Move(p)) // at its next start
	}
	for _, p := range c.Servers {
		p.SetFlag("--join", strings.Join(c.Addrs(), ","))
	}
	addrs = append(addrs, c.Addrs()...)
	c.Workers[0].SetFlag("--addr", strings.Join(addrs, ","))
	require.NoError(t, c.Workers[0].Start())
	cl, err := client.New(client.Config{Addrs: addrs})
	require.NoError(t, err)
	defer func() { require.NoError(t, cl.Close()) }()

	array, err := cl.Submit(t.Context(), client.Request{
		Spec: task.Spec{Name: "array", Handler: "rota.sleep", SharedPayload: []byte("50ms")}, Key: "array", Count: tasks,
	})
	require.NoError(t, err)
	submits := submitLoops(2, "s", submitWith(cl, task.Spec{Handler: noHandler}))
	submits.more(t, 50)
	leader.Kill()
	submits.more(t, 5)
	killAtOnce(c.Servers...)
	c.startAll()
	for _, p := range c.Servers {
		c.votesFrom(p)
	}
	submits.more(t, 50)
	killed := c.leader()
	killed.Kill()
	submits.more(t, 50)
	c.restart(killed)

	results := 0
	for r, err := range array.AsCompleted(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, task.Succeeded, r.State)
		results++
	}
	require.Equal(t, tasks, results)
	acknowledged := submits.halt(t)
	acknowledged["array"] = array.ID()
	c.requireOnce(acknowledged)
	c.served()
}

// One address may have several names. A server that finds itself under another name must not
// take itself for a second server, nor take another server for two.
func TestServersMeetThemselvesUnderOtherNames(t *testing.T) {
	t.Parallel()
	c := lay(t, localcluster.Config{Servers: 3})
	names := ""
	for i, p := range c.Servers {
		port := p.Addr[len("127.0.0.1:"):]
		if i > 0 {
			names += ","
		}
		names += "localhost:" + port + "," + p.Addr
	}
	for _, p := range c.Servers {
		p.SetFlag("--join", names)
	}
	c.startAll()
	c.served()
}
