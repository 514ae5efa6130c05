package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/api/jsonv1"
	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/cmd/rota/e2e/program"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// within is how long a condition may take to become true. It leaves room for a busy
	// machine; none of these conditions takes long by itself.
	within = 60 * time.Second
	// verbTimeout bounds one run of the command line.
	verbTimeout = 60 * time.Second
	// pollEvery is how often to check a condition.
	pollEvery = 10 * time.Millisecond
)

// cluster is the processes of one test.
type cluster struct {
	*localcluster.Cluster
	t   *testing.T
	dir string
	// atEnd is called after everything was killed, before the folder is removed.
	atEnd []func() error
}

// lay lays out a cluster without starting it. The end of the test ends the cluster.
func lay(t *testing.T, cfg localcluster.Config) *cluster {
	t.Helper()
	program.DependOnSources(t)
	dir, err := os.MkdirTemp("", "rota-e2e-"+strings.ReplaceAll(t.Name(), "/", "-")+"-")
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "tmp"), 0o700))
	cfg.Binary, cfg.Dir = binary, dir
	cfg.Env = append(cfg.Env, "TMPDIR="+filepath.Join(dir, "tmp"))
	c := &cluster{t: t, dir: dir}
	t.Cleanup(c.end)
	c.Cluster, err = localcluster.New(cfg)
	require.NoError(t, err)
	return c
}

// start starts a cluster and waits until it serves.
func start(t *testing.T, cfg localcluster.Config) *cluster {
	t.Helper()
	c := lay(t, cfg)
	c.startAll()
	return c
}

// startAll starts all processes that do not run, and waits until the cluster serves.
func (c *cluster) startAll() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	require.NoError(c.t, c.Start(ctx))
}

// in returns the same cluster for a subtest.
func (c *cluster) in(t *testing.T) *cluster {
	sub := *c
	sub.t = t
	return &sub
}

// end kills everything and requires that nothing is left.
func (c *cluster) end() {
	keep := c.t.Failed() && os.Getenv("ROTA_E2E_KEEP") != ""
	if c.Cluster != nil {
		if keep {
			// Then their logs end with the stacks of all goroutines.
			for _, s := range c.Servers {
				_ = s.Signal(syscall.SIGQUIT)
			}
			poll(time.Second, func() bool { return !slices.ContainsFunc(c.Servers, (*localcluster.Process).Running) })
		}
		killAtOnce(c.Processes()...)
		defer c.ReleasePorts()
	}
	var left []string
	gone := poll(within, func() bool { left = processes(c.mark()); return len(left) == 0 })
	if !gone {
		c.t.Errorf("processes are left behind: %q", left)
	}
	for _, f := range c.atEnd {
		if err := f(); err != nil {
			c.t.Error(err)
		}
	}
	if keep {
		c.t.Logf("the cluster's folder is kept: %s", c.dir)
		return
	}
	if err := os.RemoveAll(c.dir); err != nil {
		c.t.Errorf("remove the cluster's folder: %v", err)
	}
}

// mark is an entry that every process of the cluster has in its environment.
func (c *cluster) mark() string { return "TMPDIR=" + filepath.Join(c.dir, "tmp") }

// killAtOnce kills processes so fast that none has time to react to the end of another.
func killAtOnce(ps ...*localcluster.Process) {
	for _, p := range ps {
		// A process that has ended cannot be killed.
		_ = p.Signal(syscall.SIGKILL)
	}
	for _, p := range ps {
		p.Kill()
	}
}

// client returns a client that lives as long as the test, of some servers; none: all.
func (c *cluster) client(servers ...*localcluster.Process) *client.Client {
	c.t.Helper()
	addrs := c.Addrs()
	if len(servers) > 0 {
		addrs = nil
	}
	for _, s := range servers {
		addrs = append(addrs, s.Addr)
	}
	cl, err := client.New(client.Config{Addrs: addrs})
	require.NoError(c.t, err)
	c.t.Cleanup(func() { require.NoError(c.t, cl.Close()) })
	return cl
}

// leader waits until a server leads and serves that is not among those given.
func (c *cluster) leader(except ...*localcluster.Process) *localcluster.Process {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	var names []string
	for _, p := range except {
		names = append(names, p.Name)
	}
	info, err := c.WaitLeader(ctx, names...)
	require.NoError(c.t, err)
	leader := c.Server(info.Leader)
	require.NotNil(c.t, leader, "%s leads and is none of the cluster", info.Leader)
	require.NoError(c.t, leader.WaitReady(ctx))
	return leader
}

// followers waits for a leader and returns the other servers.
func (c *cluster) followers() []*localcluster.Process {
	c.t.Helper()
	leader := c.leader()
	var out []*localcluster.Process
	for _, s := range c.Servers {
		if s != leader {
			out = append(out, s)
		}
	}
	return out
}

// at asks only this server; the SDK would ask others too.
func (c *cluster) at(p *localcluster.Process, ask func(ctx context.Context, jobs rotav1.JobServiceClient) error) error {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	conn, err := wire.Dial(p.Addr)
	require.NoError(c.t, err)
	defer conn.Close()
	return ask(ctx, rotav1.NewJobServiceClient(conn))
}

// restart starts a server or worker that has ended, and waits until a server is ready.
func (c *cluster) restart(p *localcluster.Process) {
	c.t.Helper()
	require.NoError(c.t, p.Start())
	if p.HTTPAddr != "" {
		c.ready(p)
	}
}

// ready waits until a server is ready.
func (c *cluster) ready(p *localcluster.Process) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	require.NoError(c.t, p.WaitReady(ctx))
}

// ended waits until a process has ended by itself, and returns its exit code.
func (c *cluster) ended(p *localcluster.Process) int {
	c.t.Helper()
	await(c.t, "the end of "+p.Name, func() bool { return !p.Running() })
	return p.ExitCode()
}

// dataDir is the data folder of a server or worker.
func (c *cluster) dataDir(p *localcluster.Process) string { return filepath.Join(c.dir, p.Name) }

// output is what one run of the command line printed, and its exit code.
type output struct {
	stdout, stderr string
	code           int
}

// rota runs a verb against the cluster.
func (c *cluster) rota(args ...string) output {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), verbTimeout)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := c.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	code, err := exitCode(cmd.Run())
	require.NoError(c.t, err, "rota %q: %s", args, errs.String())
	return output{out.String(), errs.String(), code}
}

// command returns a command that runs a verb against the cluster. It is not started yet.
func (c *cluster) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), c.ClientEnv()...)
	return cmd
}

// exitCode is the exit code of a command that has run; -1 if a signal ended it.
func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// ok runs a verb that must succeed, and returns what it printed.
func (c *cluster) ok(args ...string) string {
	c.t.Helper()
	out := c.rota(args...)
	require.Zero(c.t, out.code, "rota %q: %s", args, out.stderr)
	return out.stdout
}

// submit submits a job by the command line and returns its id.
func (c *cluster) submit(args ...string) uint64 {
	c.t.Helper()
	id, err := strconv.ParseUint(strings.TrimSpace(c.ok(append([]string{"submit"}, args...)...)), 10, 64)
	require.NoError(c.t, err)
	return id
}

// parse returns a value that the command line has printed as JSON. Fields that the format does not have are an error.
func parse[T any](t *testing.T, text string) (v T) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&v), text)
	return v
}

// number is a job id as an argument.
func number(id uint64) string { return strconv.FormatUint(id, 10) }

// verify requires that all servers reach the same digest.
func (c *cluster) verify() {
	c.t.Helper()
	c.verifyServers(len(c.Servers))
}

// verifyServers is verify for a cluster that other servers have joined, or servers have left.
func (c *cluster) verifyServers(n int) {
	c.t.Helper()
	var out output
	var verified jsonv1.Verification
	same := poll(within, func() bool {
		if out = c.rota("cluster", "verify", "-o", "json"); out.code != 0 {
			return false
		}
		verified = parse[jsonv1.Verification](c.t, out.stdout)
		// A server that has just joined, and has no vote yet, may not answer.
		for _, s := range verified.Servers {
			if s.Digest == "" {
				return false
			}
		}
		return true
	})
	require.True(c.t, same, "digests do not agree: %s%s", out.stdout, out.stderr)
	require.True(c.t, verified.OK)
	require.Len(c.t, verified.Servers, n)
	for _, s := range verified.Servers {
		require.Equal(c.t, verified.Servers[0].Digest, s.Digest)
		require.Empty(c.t, s.Violations)
	}
}

// poll checks a condition until it is true, for at most limit.
func poll(limit time.Duration, cond func() bool) bool {
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			return false
		}
		<-tick.C
	}
	return true
}

// await requires that a condition becomes true.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	require.True(t, poll(within, cond), "%s did not come within %v", what, within)
}

// safeBuffer is a buffer that may be read while a process writes it.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String is all that was written.
func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// onEachLog runs f with the flags of servers for each log store.
func onEachLog(t *testing.T, f func(t *testing.T, flags []string)) {
	t.Parallel()
	for _, kind := range []string{"boltdb", "wal"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f(t, []string{"--log-store", kind})
		})
	}
}
