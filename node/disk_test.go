package node_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim/cluster"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/node/raftlog"
	"github.com/rota-scheduler/rota/task"
)

// disk is a server's log and stable store on a disk that can fail.
type disk struct {
	raftlog.Stores

	mu  sync.Mutex
	err error
	// logErr is the error of writes of the log only: small writes still find room.
	logErr error
	gate   chan struct{} // writes wait while it is there
}

// fail makes writes fail with err; nil ends that.
func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

// failLog makes writes of the log fail with err; nil ends that.
func (d *disk) failLog(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.logErr = err
}

// stall makes writes of the log wait until resume is called.
func (d *disk) stall() (resume func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	gate := make(chan struct{})
	d.gate = gate
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.gate = nil
		close(gate)
	}
}

func (d *disk) write() error {
	d.mu.Lock()
	gate := d.gate
	d.mu.Unlock()
	if gate != nil {
		<-gate
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return cmp.Or(d.err, d.logErr)
}

// StoreLogs implements raft.LogStore.
func (d *disk) StoreLogs(logs []*raft.Log) error {
	if err := d.write(); err != nil {
		return err
	}
	return d.Stores.StoreLogs(logs)
}

// SetUint64 implements raft.StableStore.
func (d *disk) SetUint64(key []byte, v uint64) error {
	d.mu.Lock()
	err := d.err
	d.mu.Unlock()
	if err != nil {
		return err
	}
	return d.Stores.SetUint64(key, v)
}

// failing is a cluster whose disks can fail.
type failing struct {
	*testing.T
	*cluster.Cluster
	ctx   context.Context
	disks map[string]*disk

	mu    sync.Mutex
	fatal map[string]error
	keys  int
	acked []string
}

// onFailingDisks runs f on a cluster of three in a bubble.
func onFailingDisks(t *testing.T, f func(c *failing)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		c := &failing{T: t, ctx: ctx, disks: map[string]*disk{}, fatal: map[string]error{}}
		c.Cluster = cluster.New(cluster.Config{Servers: 3, Dir: dir, Edit: func(cfg *node.Config) {
			if c.disks[cfg.NodeID] == nil {
				c.disks[cfg.NodeID] = &disk{Stores: cfg.Stores}
			}
			cfg.Stores = c.disks[cfg.NodeID]
			name := cfg.NodeID
			cfg.Fatal = func(err error) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.fatal[name] = err
			}
		}})
		require.NoError(t, c.StartAll())
		f(c)
		require.NoError(t, c.Close())
	})
}

func (c *failing) diskOf(s *cluster.Server) *disk { return c.disks[s.Name] }

func (c *failing) fatalOf(s *cluster.Server) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fatal[s.Name]
}

func (c *failing) leader() *cluster.Server {
	s, err := c.WaitLeader(c.ctx)
	require.NoError(c, err)
	return s
}

// eventually waits for a condition, in virtual time.
func (c *failing) eventually(what string, cond func() bool) {
	for !cond() {
		require.NoError(c, c.ctx.Err(), what)
		time.Sleep(time.Millisecond)
	}
}

// submit makes a job at the leader, if there is one.
func (c *failing) submit() error {
	c.keys++
	key := fmt.Sprintf("key %d", c.keys)
	raw, err := fsm.EncodeSpec(&task.Spec{Handler: "none"})
	require.NoError(c, err)
	s := c.Leader()
	if s == nil {
		return task.Errorf(task.KindUnavailable, "no leader")
	}
	ctx, cancel := context.WithTimeout(c.ctx, 2*time.Second)
	defer cancel()
	_, err = s.Node().Propose(ctx, &logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: raw, Tasks: &logpb.Tasks{Count: 1}, Key: key, Hash: []byte(key)}}})
	if err == nil {
		c.acked = append(c.acked, key)
	}
	return err
}

func (c *failing) submits() {
	c.eventually("a submit succeeds", func() bool { return c.submit() == nil })
}

// requireAll requires that every server gets everything that was acknowledged.
func (c *failing) requireAll() {
	l := c.leader()
	require.NoError(c, l.Node().Barrier(c.ctx))
	index := l.Node().State().Machine().AppliedIndex()
	for _, s := range c.Servers {
		require.NoError(c, s.Node().WaitApplied(c.ctx, index), s.Name)
		keys := map[string]bool{}
		for _, rec := range s.Node().State().Machine().JobsBelow(0, 1<<20) {
			keys[rec.Key] = true
		}
		for _, k := range c.acked {
			require.True(c, keys[k], "%s lacks %s", s.Name, k)
		}
	}
}

func TestALeaderWithAFullDiskIsReplaced(t *testing.T) {
	t.Parallel()
	onFailingDisks(t, func(c *failing) {
		old := c.leader()
		c.submits()
		c.diskOf(old).fail(syscall.ENOSPC)
		// The submit that meets the full disk may or may not have taken effect.
		if err := c.submit(); err != nil {
			require.ErrorIs(c, err, task.ErrUnknownOutcome)
		}
		c.submits()
		require.NotEqual(c, old, c.leader())
		c.diskOf(old).fail(nil)
		c.submits()
		c.requireAll()
		require.NoError(c, c.fatalOf(old), "a full disk is no reason to end")
	})
}

func TestNothingIsAcknowledgedOnFullDisks(t *testing.T) {
	t.Parallel()
	onFailingDisks(t, func(c *failing) {
		c.leader()
		for range 5 {
			c.submits()
		}
		for _, d := range c.disks {
			d.fail(syscall.ENOSPC)
		}
		for range 50 {
			err := c.submit()
			require.Error(c, err)
			require.Contains(c, []task.Kind{task.KindUnavailable, task.KindExhausted, task.KindUnknownOutcome}, task.KindOf(err))
			time.Sleep(100 * time.Millisecond)
		}
		for _, d := range c.disks {
			d.fail(nil)
		}
		c.submits()
		c.requireAll()
		for _, s := range c.Servers {
			require.NoError(c, c.fatalOf(s))
		}
	})
}

// A leader that is elected while the disks of a majority are full cannot store the first
// entry of its term there, and so never becomes ready. It says why.
func TestALeaderThatFullDisksKeepFromLeadingSaysSo(t *testing.T) {
	t.Parallel()
	onFailingDisks(t, func(c *failing) {
		old := c.leader()
		c.submits()
		// The third server can only be elected if it lacks nothing of what the full ones have.
		c.requireAll()
		full := []*cluster.Server{old}
		for _, s := range c.Servers {
			if s != old && len(full) < 2 {
				full = append(full, s)
			}
		}
		for _, s := range full {
			c.diskOf(s).failLog(syscall.ENOSPC)
		}
		said := func(err error) bool {
			return task.KindOf(err) == task.KindExhausted && strings.Contains(err.Error(), "a majority of the servers are full")
		}
		c.eventually("the new leader says why it does not lead", func() bool {
			_ = c.submit() // the old one finds out by trying
			for _, s := range c.Servers {
				if err := s.Node().CheckLeader(); said(err) {
					require.NotContains(c, full, s)
					return true
				}
			}
			return false
		})
		for _, s := range full {
			c.diskOf(s).failLog(nil)
			// An old leader may have had to delete an entry of its own for one of the next leader's, and have no room
			// for that. It ends, and says what to do.
			if err := c.fatalOf(s); err != nil {
				require.ErrorContains(c, err, "free some space and start the server again")
				require.NoError(c, s.Crash())
				require.NoError(c, s.Start())
			}
		}
		c.submits()
		c.requireAll()
	})
}

// A server that knows of no leader, and has no space to vote for one, says that.
func TestAServerWithoutALeaderSaysThatItsDiskIsFull(t *testing.T) {
	t.Parallel()
	onFailingDisks(t, func(c *failing) {
		s := c.leader()
		c.submits()
		c.diskOf(s).fail(syscall.ENOSPC)
		_ = c.submit() // it finds out
		c.Net.CutOff([]string{s.Name}, c.Names())
		c.eventually("it says so", func() bool {
			err := s.Node().CheckLeader()
			return task.KindOf(err) == task.KindUnavailable && strings.Contains(err.Error(), "the disk of this server is full")
		})
		c.Net.Heal()
		c.diskOf(s).fail(nil)
		c.submits()
		c.requireAll()
	})
}

// A server whose disk is full can be stopped, and comes back when there is space.
func TestAServerWithAFullDiskCanBeStopped(t *testing.T) {
	t.Parallel()
	onFailingDisks(t, func(c *failing) {
		s := c.leader()
		c.submits()
		c.diskOf(s).fail(syscall.ENOSPC)
		c.Net.CutOff([]string{s.Name}, c.Names()) // it tries to become leader, and has no place for its term
		time.Sleep(5 * time.Second)
		require.NoError(c, s.Crash())
		c.Net.Heal()
		c.diskOf(s).fail(nil)
		require.NoError(c, s.Start())
		c.submits()
		c.requireAll()
	})
}

func TestAServerWhoseDiskFailsEnds(t *testing.T) {
	t.Parallel()
	onFailingDisks(t, func(c *failing) {
		s := c.leader()
		c.diskOf(s).fail(syscall.EIO)
		_ = c.submit() // whatever comes of it
		require.ErrorIs(c, c.fatalOf(s), syscall.EIO)
		require.NoError(c, s.Crash())
		c.submits()
		c.diskOf(s).fail(nil)
		require.NoError(c, s.Start())
		c.requireAll()
	})
}

// Raft goes on sending heartbeats while its disk stalls, so the cluster would stand still.
func TestALeaderWhoseDiskStallsGivesItsPlaceUp(t *testing.T) {
	t.Parallel()
	onFailingDisks(t, func(c *failing) {
		old := c.leader()
		c.submits()
		resume := c.diskOf(old).stall()
		began := time.Now()
		_ = c.submit() // it gets stuck in the write
		c.eventually("the server ends", func() bool { return c.fatalOf(old) != nil })
		require.ErrorContains(c, c.fatalOf(old), "the disk has stalled")
		const stallTimeout = 2 * time.Second
		require.Less(c, time.Since(began), 5*stallTimeout/2)
		c.Net.CutOff([]string{old.Name}, c.Names()) // its process has ended
		c.submits()
		resume()
		require.NoError(c, old.Crash())
		c.Net.Heal()
		require.NoError(c, old.Start())
		c.requireAll()
	})
}
