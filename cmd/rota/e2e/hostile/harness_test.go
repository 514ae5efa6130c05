package hostile

import (
	"context"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/cmd/rota/e2e/program"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// within is how long a condition may take to become true on a busy
	// machine.
	within = 60 * time.Second
	// pollEvery is how often to check a condition.
	pollEvery = 10 * time.Millisecond
	// memoryLimit is how much private memory each server may have, bytes.
	memoryLimit = 1 << 30
	// servers and slots are the size of each cluster.
	servers, slots = 3, 4
)

// harness is a cluster that hostile peers attack while polite clients use it.
type harness struct {
	// Addrs is where the servers listen for clients and workers, PeerAddrs for Raft,
	// HTTPAddrs for browsers.
	Addrs, PeerAddrs, HTTPAddrs []string

	t       *testing.T
	dir     string
	cluster *localcluster.Cluster
	polite  *polite
}

// start starts three servers, a worker and polite clients. It checks the servers when the
// test has ended.
func start(t *testing.T, flags ...string) *harness {
	t.Helper()
	return startAs(t, binary, flags...)
}

// startAs is start with another program: an older one, or one that starts the program under test.
func startAs(t *testing.T, path string, flags ...string) *harness {
	t.Helper()
	program.DependOnSources(t)
	dir, err := os.MkdirTemp("", "rota-hostile-"+strings.ReplaceAll(t.Name(), "/", "-")+"-")
	require.NoError(t, err)
	h := &harness{t: t, dir: dir}
	t.Cleanup(h.removeDir)
	h.cluster, err = localcluster.New(localcluster.Config{
		Binary: path, Dir: dir, Servers: servers, Workers: 1, Slots: slots,
		// Workers of these tests do not beat, and these tests are not about elections on a busy machine.
		ServerFlags: append([]string{"--lease-timeout", (5 * within).String(), "--election-timeout", "1s"}, flags...),
	})
	require.NoError(t, err)
	t.Cleanup(h.cluster.ReleasePorts)
	t.Cleanup(h.cluster.Kill)
	for i, p := range h.cluster.Servers {
		h.Addrs, h.PeerAddrs, h.HTTPAddrs = append(h.Addrs, p.Addr), append(h.PeerAddrs, p.PeerAddr), append(h.HTTPAddrs, p.HTTPAddr)
		h.run(i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	require.NoError(t, h.cluster.Start(ctx))
	h.polite = startPolite(h.Client())
	t.Cleanup(h.check)
	// A client that was never served would not notice that the servers stop serving it.
	h.Served(1)
	return h
}

// run starts a server under the limit.
func (h *harness) run(i int) {
	h.t.Helper()
	p := h.cluster.Servers[i]
	require.NoError(h.t, p.Start())
	require.NoError(h.t, p.LimitMemory(memoryLimit))
}

// check is what holds after every case.
func (h *harness) check() {
	h.Served(1)
	if err := h.polite.stop(); err != nil {
		h.t.Errorf("a polite client had an error: %v", err)
	}
	for i, p := range h.cluster.Servers {
		h.t.Logf("%s has had %s in memory at most", p.Name, h.peak(i))
	}
	h.alive()
	h.verify()
}

// Served waits until polite clients have had the results of that many more jobs.
func (h *harness) Served(jobs int64) {
	h.t.Helper()
	goal := h.polite.jobs.Load() + jobs
	h.Await("jobs of polite clients", func() bool {
		h.alive()
		return h.polite.failed() != nil || h.polite.jobs.Load() >= goal
	})
	require.NoError(h.t, h.polite.failed(), "a polite client had an error")
}

// flood counts messages while one or more senders send them.
type flood struct {
	// sent counts the messages, active the senders that may send more.
	sent, active atomic.Int64
}

// send sends up to so many messages in the background, or until the first error.
func (f *flood) send(messages int, send func() error) {
	f.active.Add(1)
	go func() {
		defer f.active.Add(-1)
		for range messages {
			if send() != nil {
				return
			}
			f.sent.Add(1)
		}
	}()
}

// Withstands waits until every sender has ended, or cannot send because the servers do not read. Polite clients must
// be served meanwhile.
func (h *harness) Withstands(f *flood) {
	h.t.Helper()
	const jobs, rounds = 50, 5
	for last, same := int64(0), 0; f.active.Load() > 0 && same < rounds; same++ {
		if sent := f.sent.Load(); sent != last {
			last, same = sent, 0
		}
		h.Served(jobs)
	}
	h.t.Logf("%d messages were sent", f.sent.Load())
	h.Served(jobs)
}

// Await waits until a condition is true.
func (h *harness) Await(what string, cond func() bool) {
	h.t.Helper()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for deadline := time.Now().Add(within); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			h.t.Fatalf("%s: not within %v", what, within)
		}
	}
}

// alive fails the test if a server has ended.
func (h *harness) alive() {
	h.t.Helper()
	for _, p := range h.cluster.Servers {
		if !p.Running() {
			h.t.Fatalf("%s has ended with exit code %d; its log:\n%s", p.Name, p.ExitCode(), lastWords(p.LogFile))
		}
	}
}

// lastWords is the part of a server's log that says why it has ended: what comes before
// the stacks.
func lastWords(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	text, _, _ := strings.Cut(string(data), "\ngoroutine ")
	const most = 4 << 10
	return text[max(0, len(text)-most):]
}

// verify requires that all servers reach the same digest.
func (h *harness) verify() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	cl := h.Client()
	h.Await("the digests of all servers", func() bool {
		info, err := cl.Verify(ctx)
		require.NoError(h.t, err)
		compared := 0
		for _, s := range info.Servers {
			if s.Error == "" { // a hostile server may have joined, and one of ours may be slow
				compared++
			}
		}
		require.True(h.t, info.OK || compared < servers, "the servers differ: %+v", info)
		return compared == servers
	})
}

var peakLine = regexp.MustCompile(`VmHWM:\s*(.*)`)

// peak is the most memory that a server has had, files included.
func (h *harness) peak(i int) string {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(h.cluster.Servers[i].Pid()) + "/status")
	if found := peakLine.FindSubmatch(status); err == nil && found != nil {
		return string(found[1])
	}
	return "an unknown amount (it has ended)"
}

// Restart ends a server by a signal and starts it again under the limit.
func (h *harness) Restart(i int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), within)
	defer cancel()
	require.NoError(h.t, h.cluster.Servers[i].Stop(ctx))
	h.run(i)
	require.NoError(h.t, h.cluster.Servers[i].WaitReady(ctx))
}

// Leader waits for a leader, and returns which server it is.
func (h *harness) Leader() int {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	info, err := h.cluster.WaitLeader(ctx)
	require.NoError(h.t, err)
	for i, p := range h.cluster.Servers {
		if p.Name == info.Leader {
			return i
		}
	}
	h.t.Fatalf("%s leads, which is none of the cluster", info.Leader)
	return 0
}

// Dial returns a connection to this one server. It lives as long as the test.
func (h *harness) Dial(i int) *grpc.ClientConn {
	h.t.Helper()
	conn, err := wire.Dial(h.Addrs[i])
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Client returns a client of the SDK that lives as long as the test.
func (h *harness) Client() *client.Client {
	h.t.Helper()
	cl, err := h.cluster.Client()
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = cl.Close() })
	return cl
}

func (h *harness) removeDir() {
	if h.t.Failed() && os.Getenv("ROTA_E2E_KEEP") != "" {
		h.t.Logf("the cluster's folder is kept: %s", h.dir)
		return
	}
	if err := os.RemoveAll(h.dir); err != nil {
		h.t.Errorf("remove the cluster's folder: %v", err)
	}
}
