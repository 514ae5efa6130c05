package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// proposed is a proposer that remembers what it was given.
type proposed struct {
	ops    []*logpb.Op
	done   func(fsm.Result, error)
	waited time.Duration
}

func (p *proposed) waiting() time.Duration { return p.waited }

func (p *proposed) propose(op *logpb.Op, done func(fsm.Result, error)) {
	p.ops, p.done = append(p.ops, op), done
}

// willing are requests of a server whose disks have room, and that leads.
func willing(p *proposed) *requests {
	no := func() bool { return false }
	return &requests{
		proposer: p, state: newInMemory(), leads: func() bool { return true }, diskFull: no, majorityFull: no, behind: no, stallTimeout: time.Second,
	}
}

func TestNewWorkIsRefusedWhileTheDisksHaveNoRoomForIt(t *testing.T) {
	t.Parallel()
	yes := func() bool { return true }
	for name, c := range map[string]struct {
		set  func(*requests, *proposed)
		says string
	}{
		"the disk is full":             {func(r *requests, _ *proposed) { r.diskFull = yes }, "free some space, or raise its ulimit"},
		"those of a majority are full": {func(r *requests, _ *proposed) { r.majorityFull = yes }, "a majority of the servers are full"},
		"state.db is far behind":       {func(r *requests, _ *proposed) { r.behind = yes }, "does not keep up"},
		"nothing is committed":         {func(_ *requests, p *proposed) { p.waited = 2 * time.Second }, "has stored anything for 2s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &proposed{}
			r := willing(p)
			accept := func(fsm.Result, error) { require.Fail(t, "an op that was accepted has no answer yet") }
			r.proposeAsync(aSubmit(), accept)
			require.Len(t, p.ops, 1, "there is room")
			c.set(r, p)
			var refused error
			r.proposeAsync(aSubmit(), func(_ fsm.Result, err error) { refused = err })
			require.ErrorIs(t, refused, task.ErrExhausted)
			require.ErrorContains(t, refused, c.says)
			r.proposeAsync(aReport(), accept) // what frees room is taken
			require.Len(t, p.ops, 2)
		})
	}
}

// The cancel of a job with a million tasks is ten bytes long, and makes state.db write a million records.
func TestTheCancelOfAWholeJobWaitsForStateDB(t *testing.T) {
	t.Parallel()
	p := &proposed{}
	r := willing(p)
	cancel := func(index *uint32) (err error) {
		op := &logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: 1, Index: index}}}
		r.proposeAsync(op, func(_ fsm.Result, e error) { err = e })
		return err
	}
	require.NoError(t, cancel(nil))
	r.behind = func() bool { return true }
	require.ErrorIs(t, cancel(nil), task.ErrExhausted)
	require.NoError(t, cancel(new(uint32)), "that of one task is no more than a report")
	require.Len(t, p.ops, 2)
}

func TestASubmitTakesItsFirstAssignmentAlong(t *testing.T) {
	t.Parallel()
	p := &proposed{}
	r := willing(p)
	placed, released := 0, 0
	r.place = func(*fsm.Machine, *task.Spec, uint32) ([]*logpb.Assign, func()) {
		placed++
		return []*logpb.Assign{{Session: 7}}, func() { released++ }
	}
	submit := func(op *logpb.Submit) []*logpb.Assign {
		op.Tasks = &logpb.Tasks{Count: 1}
		r.submitAsync(op, &task.Spec{}, func(fsm.Result, error) {})
		return p.ops[len(p.ops)-1].GetSubmit().Assign
	}
	require.Len(t, submit(&logpb.Submit{}), 1)
	require.Zero(t, released, "the room counts as taken until the answer")
	p.done(fsm.Result{}, nil)
	require.Equal(t, 1, released)
	require.Empty(t, submit(&logpb.Submit{Open: true}), "its tasks are yet to come")
	r.leads = func() bool { return false }
	require.Empty(t, submit(&logpb.Submit{}), "only the leader knows the workers")
	require.Equal(t, 1, placed)
	require.Len(t, p.ops, 3)
}
