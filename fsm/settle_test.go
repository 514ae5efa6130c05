package fsm

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// chain is a machine with so many jobs of one task. The end of each cancels the next one, as far as there is room.
type chain struct {
	t     *testing.T
	m     *Machine
	index uint64
	// ended is the jobs in the order in which they ended; the one at left had no room to cancel the next one.
	ended []uint64
	left  uint64
}

func newChain(t *testing.T, jobs int) *chain {
	t.Helper()
	c := &chain{t: t, m: New(nil, nil)}
	spec, err := EncodeSpec(&task.Spec{Handler: "h"})
	require.NoError(t, err)
	var ops []*logpb.Op
	for range jobs {
		ops = append(ops, &logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: spec, Tasks: &logpb.Tasks{Count: 1}}}})
	}
	c.apply(ops...)
	c.m.unblock = func(ended *job, room int) {
		c.ended = append(c.ended, ended.id)
		next := c.m.jobs[ended.id+1]
		switch {
		case next == nil:
		case room == 0:
			c.left = ended.id
		default:
			c.end(next)
		}
	}
	return c
}

// end cancels the task of a job.
func (c *chain) end(j *job) {
	budget := math.MaxInt
	c.m.cancelJob(j, task.ReasonDependency, &Result{})
	c.m.sweep(j, &budget)
}

func (c *chain) apply(ops ...*logpb.Op) {
	c.t.Helper()
	data, err := EncodeEntry(c.m.ActiveVersion(), 1, ops)
	require.NoError(c.t, err)
	c.index++
	results, err := c.m.Apply(c.index, 1, data)
	require.NoError(c.t, err)
	for _, r := range results {
		require.NoError(c.t, r.Err)
	}
}

func (c *chain) cancel(id uint64) {
	c.t.Helper()
	c.apply(&logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: id, Reason: uint32(task.ReasonUser)}}})
}

// check requires that the digest has every job as it is, and that no job waits to be settled.
func (c *chain) check() {
	c.t.Helper()
	require.Empty(c.t, c.m.CheckInvariants())
	sum := uint64(0)
	for _, j := range c.m.jobs {
		sum += j.hash()
	}
	require.Equal(c.t, sum, c.m.jobsSum)
}

// A job that ends may end another, and that the next one: all of them in one entry, in order.
func TestASettleGoesOnWithWhatItTouches(t *testing.T) {
	t.Parallel()
	const jobs = 1000
	c := newChain(t, jobs)
	c.cancel(1)
	require.Len(t, c.ended, jobs)
	for n, id := range c.ended {
		require.EqualValues(t, n+1, id)
	}
	require.Zero(t, c.m.liveJobs)
	require.Len(t, c.m.TakeBatch().Jobs, jobs)
	c.check()
}

// The number of jobs that one entry adds is bounded, whatever waits for its jobs.
func TestASettleAddsSoManyJobs(t *testing.T) {
	t.Parallel()
	c := newChain(t, 2*maxUnblocked)
	c.cancel(1)
	require.Len(t, c.ended, 1+maxUnblocked)
	require.EqualValues(t, 1+maxUnblocked, c.left)
	c.check()
	c.cancel(c.left + 1)
	require.Len(t, c.ended, 2*maxUnblocked)
	require.Zero(t, c.m.liveJobs)
	c.check()
}

// A job that was settled may be touched again by one that is settled after it.
func TestAJobIsSettledAgain(t *testing.T) {
	t.Parallel()
	c := newChain(t, 2)
	c.m.unblock = func(ended *job, _ int) {
		first := c.m.jobs[1]
		c.m.touch(first)
		first.lastAppend++
	}
	c.apply(
		&logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: 1, Reason: uint32(task.ReasonUser)}}},
		&logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: 2, Reason: uint32(task.ReasonUser)}}},
	)
	require.EqualValues(t, 3, c.m.jobs[1].lastAppend)
	c.check()
}

// To touch more than there is room for is a fault of this package, not of an entry.
func TestASettleThatHasNoEndStops(t *testing.T) {
	t.Parallel()
	c := newChain(t, 2*maxUnblocked)
	c.m.unblock = func(ended *job, _ int) {
		if next := c.m.jobs[ended.id+1]; next != nil {
			c.end(next)
		}
	}
	require.Panics(t, func() { c.cancel(1) })
}
