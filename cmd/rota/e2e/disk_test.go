package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/internal/smalldisk"
	"github.com/rota-scheduler/rota/task"
)

const (
	// diskSize is the size of a server's file system.
	diskSize = "size=512m"
	// balloon is the file that takes up all space of a file system.
	balloon = "balloon"
)

// startOnSmallDisks starts a cluster in which each server has a small file system of its
// own.
func startOnSmallDisks(t *testing.T, flags ...string) *cluster {
	t.Helper()
	c := lay(t, localcluster.Config{Servers: 3, ServerFlags: flags})
	for _, s := range c.Servers {
		dir := c.dataDir(s)
		require.NoError(t, os.MkdirAll(dir, 0o700))
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, diskSize); err != nil {
			t.Fatalf("mount a small file system: %v", err)
		}
		c.atEnd = append(c.atEnd, func() error { return syscall.Unmount(dir, syscall.MNT_DETACH) })
	}
	c.startAll()
	return c
}

// fill takes up all space of a server's file system.
func (c *cluster) fill(p *localcluster.Process) {
	c.t.Helper()
	f, err := os.OpenFile(filepath.Join(c.dataDir(p), balloon), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(c.t, err)
	defer f.Close()
	for size := 1 << 20; size >= 1; {
		_, err := f.Write(make([]byte, size))
		if err != nil {
			require.ErrorIs(c.t, err, syscall.ENOSPC)
			size /= 2
		}
	}
}

// free makes space again.
func (c *cluster) free(p *localcluster.Process) {
	c.t.Helper()
	require.NoError(c.t, os.Remove(filepath.Join(c.dataDir(p), balloon)))
}

// requireRunning requires that no server has ended.
func (c *cluster) requireRunning() {
	c.t.Helper()
	for _, s := range c.Servers {
		require.True(c.t, s.Running(), "server %s has ended", s.Name)
	}
}

// spacious is how many submits of 4 KiB need more space than a server keeps in reserve.
const spacious = 500

// heavySubmits submits jobs with 4 KiB each.
func heavySubmits(cl *client.Client, prefix string) *submitter {
	return submitLoops(4, prefix, submitWith(cl, task.Spec{Handler: noHandler, SharedPayload: make([]byte, 4<<10)}))
}

// While the disk of one server is full, a follower's or the leader's, submits go on with
// the majority. The server reaches the state of the others once it has space.
func TestFullDiskOfOneServerStopsNobody(t *testing.T) {
	t.Parallel()
	if smalldisk.Elsewhere(t) {
		return
	}
	c := startOnSmallDisks(t)
	cl := c.client()
	acknowledged := map[string]uint64{}
	for name, pick := range map[string]func(c *cluster) *localcluster.Process{
		"follower": func(c *cluster) *localcluster.Process { return c.followers()[0] },
		"leader":   func(c *cluster) *localcluster.Process { return c.leader() },
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			submits := heavySubmits(cl, name)
			submits.more(t, 50)
			p := pick(c)
			submits.longest()
			c.fill(p)
			submits.more(t, spacious)
			gap := submits.longest()
			// More submits would fill the disk again before the server has caught up.
			maps.Copy(acknowledged, submits.halt(t))
			c.requireRunning()
			begin := time.Now()
			c.free(p)
			c.verify()
			t.Logf("%s was full: the longest time without a submit was %v; with space again it took %v to catch up", p.Name, gap, time.Since(begin))
		})
	}
	c.requireOnce(acknowledged)
	c.verify()
}

// While the disks of a majority are full, submits are refused and the error says why.
// Nothing that was acknowledged is lost, and the cluster goes on once there is space.
func TestFullDisksOfAMajorityRefuseSubmits(t *testing.T) { onEachLog(t, fullDisksOfAMajority) }

func fullDisksOfAMajority(t *testing.T, flags []string) {
	if smalldisk.Elsewhere(t) {
		return
	}
	c := startOnSmallDisks(t, flags...)
	submits := heavySubmits(c.client(), "many")
	submits.more(t, 50)
	full := append(c.followers()[:1], c.leader())
	for _, p := range full {
		c.fill(p)
	}
	await(t, "refusals", func() bool {
		from := submits.count.Load()
		return !poll(time.Second, func() bool { return submits.count.Load() > from })
	})
	// At first nobody knows why there is no answer. The leader soon finds out.
	var asked []string
	reason := ""
	await(t, "the reason", func() bool {
		key := "asked-" + number(uint64(len(asked)))
		asked = append(asked, key)
		out := c.rota("submit", "--request-timeout", "500ms", "--handler", noHandler, "--name", key, "--key", key)
		require.Contains(t, []int{0, 6}, out.code, out.stderr)
		reason = strings.TrimSpace(out.stderr)
		t.Logf("answered with %d: %s", out.code, reason)
		return strings.Contains(reason, "disk is full") || strings.Contains(reason, "of the servers are full")
	})
	c.requireRunning()

	begin := time.Now()
	for _, p := range full {
		c.free(p)
	}
	submits.more(t, 100)
	t.Logf("submits go on %v after there was space", time.Since(begin))
	acknowledged := submits.halt(t)
	// A client may send again what was refused or not answered, and it is one job then.
	for _, key := range asked {
		acknowledged[key] = c.submit("--handler", noHandler, "--name", key, "--key", key)
	}
	c.requireOnce(acknowledged)
	killAtOnce(c.Servers...)
	c.startAll()
	c.requireOnce(acknowledged)
	c.verify()
}
