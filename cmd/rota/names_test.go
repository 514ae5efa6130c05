package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/internal/localcluster"
)

// askAgain is how often to check a condition.
const askAgain = 20 * time.Millisecond

// namedCluster is a cluster of processes that knows its servers by one name.
type namedCluster struct {
	*localcluster.Cluster
	t      *testing.T
	names  *nameServer
	binary string
	// name is all that anybody knows of the servers.
	name string
}

// newNamed lays out a cluster whose processes ask a DNS server of the test.
func newNamed(t *testing.T) *namedCluster {
	t.Helper()
	names := serveNames(t)
	c := newCluster(t, localcluster.Config{Servers: 3, Workers: 1, Slots: 4, Env: []string{askNamesAt + "=" + names.addr}})
	return &namedCluster{Cluster: c, t: t, names: names, binary: ownBinary(t)}
}

// know gives all processes the name of the cluster.
func (c *namedCluster) know(name string) {
	c.name = name
	for _, p := range c.Servers {
		p.SetFlag("--join", name)
	}
	for _, p := range c.Workers {
		p.SetFlag("--addr", name)
	}
}

// put puts a server on hosts of its own, for its next start.
func (c *namedCluster) put(p *localcluster.Process, host string, port int) {
	at := func(i int) string { return net.JoinHostPort(host, strconv.Itoa(port+i)) }
	p.Addr, p.PeerAddr, p.HTTPAddr = at(0), at(1), at(2)
	p.SetFlag("--addr", p.Addr)
	p.SetFlag("--peer-addr", p.PeerAddr)
	p.SetFlag("--http-addr", p.HTTPAddr)
}

// startAll starts what does not run yet, and waits until the cluster serves.
func (c *namedCluster) startAll() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), deadline)
	defer cancel()
	require.NoError(c.t, c.Start(ctx))
}

// verb is a verb that knows the name and nothing else.
func (c *namedCluster) verb(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.binary, args...)
	cmd.Args[0] = "rota"
	cmd.Env = append(os.Environ(), askNamesAt+"="+c.names.addr, "ROTA_ADDR="+c.name)
	return cmd
}

// ok runs a verb that must succeed, and returns what it printed.
func (c *namedCluster) ok(args ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), deadline)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := c.verb(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(c.t, cmd.Run(), "rota %q: %s", args, errs.String())
	return out.String()
}

// killLeader kills the server that leads.
func (c *namedCluster) killLeader() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), deadline)
	defer cancel()
	info, err := c.WaitLeader(ctx)
	require.NoError(c.t, err)
	c.Server(info.Leader).Kill()
}

// reachesAll waits until every server is a voter, and reaches all others where they are now.
func (c *namedCluster) reachesAll() {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		for _, p := range c.Servers {
			ctx, cancel := context.WithTimeout(c.t.Context(), deadline)
			out, err := c.verb(ctx, "cluster", "status", "-o", "json", "--addr", p.Addr).Output()
			cancel()
			var status jsonv1.Status
			if err != nil || json.Unmarshal(out, &status) != nil || len(status.Servers) != len(c.Servers) {
				return false
			}
			for _, s := range status.Servers {
				if !s.Voter || s.Problem != "" || s.State == "unreachable" || s.Addr != c.Server(s.ID).Addr {
					return false
				}
			}
		}
		return true
	}, deadline, askAgain, "all servers vote from where they are")
}

// waitsFor waits until a new server says what it waits for.
func (c *namedCluster) waitsFor(p *localcluster.Process, what string) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), deadline)
		defer cancel()
		out, _ := c.verb(ctx, "cluster", "status", "--addr", p.Addr).CombinedOutput() // it fails: there is no cluster
		return bytes.Contains(out, []byte(what))
	}, deadline, askAgain, what)
}

// A name has an address for each container of a cluster. They come one after the other, go all at once, and come back
// elsewhere. Nobody knows anything but that name, from the first start on.
func TestServersWorkersAndClientsKnowOneName(t *testing.T) {
	t.Parallel()
	const tasks = 200
	c := newNamed(t)
	port := portOf(t, c.Servers[0].Addr)
	c.know("cluster.test:" + strconv.Itoa(port))
	host := func(round, i int) string { return fmt.Sprintf("127.1.%d.%d", round, i+1) }
	comeOneByOne := func(round int) {
		var hosts []string
		for i, p := range c.Servers {
			c.put(p, host(round, i), port)
			hosts = append(hosts, host(round, i))
			c.names.set("cluster.test", hosts...)
			require.NoError(t, p.Start())
			if round == 0 && i < 2 {
				c.waitsFor(p, fmt.Sprintf("%d of 3 servers are there", i+1))
			}
		}
	}
	comeOneByOne(0)
	c.startAll()
	c.reachesAll()
	require.Equal(t, "found\n", c.ok("run", "--", "echo", "found"))

	// A client that waits, and a worker, go through it all.
	waiting := c.verb(t.Context(), "submit", "--name", "waited-for", "--wait", "--handler", "rota.sleep", "--payload", "50ms", "--array", "0-"+strconv.Itoa(tasks-1))
	var errs bytes.Buffer
	waiting.Stderr = &errs
	require.NoError(t, waiting.Start())
	finished := make(chan error, 1)
	go func() { finished <- waiting.Wait() }()
	require.Eventually(t, func() bool {
		out, err := c.verb(t.Context(), "job", "list").Output()
		return err == nil && bytes.Contains(out, []byte("waited-for"))
	}, deadline, askAgain, "the job")
	c.killLeader()
	require.Equal(t, "led\n", c.ok("run", "--", "echo", "led"))
	for _, p := range c.Servers {
		p.Kill()
	}
	c.names.set("cluster.test")
	comeOneByOne(1)
	c.reachesAll()
	require.Equal(t, "found again\n", c.ok("run", "--", "echo", "found again"))
	require.NoError(t, <-finished, "%s", &errs)
	c.ok("cluster", "verify")
}

// Addresses are IPv6, and a service has the ports of its servers.
func TestAClusterOverIPv6IsFoundByItsService(t *testing.T) {
	t.Parallel()
	c := newNamed(t)
	var servers []net.SRV
	for _, p := range c.Servers {
		port := portOf(t, p.Addr)
		c.put(p, "::1", port)
		name := p.Name + ".six.test"
		c.names.set(name, "::1")
		servers = append(servers, net.SRV{Target: name, Port: uint16(port)})
	}
	c.names.setService("_rota._tcp.six.test", servers...)
	c.know("_rota._tcp.six.test")
	c.startAll()
	c.reachesAll()
	require.Equal(t, "six\n", c.ok("run", "--", "echo", "six"))
	c.killLeader()
	require.Equal(t, "five\n", c.ok("run", "--", "echo", "five"))
}

func portOf(t *testing.T, addr string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	return n
}
