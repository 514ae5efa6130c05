package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
)

const (
	// callTimeout bounds one attempt of a request.
	callTimeout = 2 * time.Second
	// maxPause bounds the wait between attempts.
	maxPause = time.Second
	// maxTimed is how many tasks a job with a timeout may have. One such attempt in sixteen is never reported: its slot
	// is lost for the timeout and the margin, then its worker rests. Hundreds of them take longer than a run has to drain.
	maxTimed = 12
)

// client submits, cancels and reads, one request at a time.
type client struct {
	r      *Run
	name   string
	random *rand.Rand
	load   *sim.Load
	// hint is the server that led when it was last heard of.
	hint string
}

// run makes requests until the trouble ends, and sees the last one through.
func (cl *client) run() {
	for cl.r.chaos.Err() == nil {
		switch n := cl.random.IntN(100); {
		case n < 25:
			cl.submit(cl.newSubmit())
		case n < 31:
			if s, ok := cl.load.Again(); ok {
				cl.submit(s)
			}
		case n < 33:
			if s, ok := cl.load.Again(); ok {
				cl.conflict(s)
			}
		case n < 39:
			cl.cancel()
		case n < 42:
			cl.checkpoint()
		case n < 72:
			cl.read()
		default:
			cl.readTask()
		}
		if sleep(cl.r.chaos, time.Duration(cl.random.Int64N(int64(400*time.Millisecond)))) != nil {
			return
		}
	}
}

// try sends a request until it succeeds or fails for good, like package client: to the leader if one is known, and
// again after failures without effect and after unknown outcomes. The request must be safe to repeat.
func try[T any](cl *client, f func(context.Context, *node.Node) (T, error)) (v T, err error) {
	for failures := 0; cl.r.ctx.Err() == nil; failures++ {
		s := cl.r.c.server(cl.hint)
		if s == nil || failures > 0 && cl.random.IntN(3) == 0 {
			s = cl.r.c.Servers[cl.random.IntN(len(cl.r.c.Servers))]
		}
		v, err = Call(cl.r.c, cl.name, s, callTimeout, f)
		var e *task.Error
		switch {
		case err == nil:
			cl.hint = s.Name
			return v, nil
		case !errors.As(err, &e):
			// A context that ended, at the server.
		case e.Kind == task.KindUnknownOutcome:
			cl.r.history.count(func(c *Counts) { c.Unknown++ })
		case e.Kind != task.KindUnavailable && e.Kind != task.KindExhausted:
			return v, err
		}
		pause := min(maxPause, 20*time.Millisecond<<min(failures, 6))
		if e != nil && e.Leader != "" && e.Leader != s.Name {
			cl.hint, pause = e.Leader, pause/10
		} else if s.Name == cl.hint {
			cl.hint = ""
		}
		_ = sleep(cl.r.ctx, pause/2+time.Duration(cl.random.Int64N(int64(pause/2))))
	}
	return v, cl.r.ctx.Err()
}

// atLeader makes a request that only a leader takes: the server does not forward it.
func atLeader(op *logpb.Op) func(context.Context, *node.Node) (fsm.Result, error) {
	return func(ctx context.Context, n *node.Node) (fsm.Result, error) {
		if err := n.CheckLeader(); err != nil {
			return fsm.Result{}, err
		}
		return n.Propose(ctx, op)
	}
}

// newSubmit makes up a job.
func (cl *client) newSubmit() sim.Submit {
	s, err := cl.load.New(func(op *logpb.Submit, spec *task.Spec) {
		if cl.random.IntN(10) == 0 && op.Tasks.Count <= maxTimed {
			spec.Timeout = 2 * lease
		}
		spec.SharedPayload = make([]byte, cl.random.IntN(600))
	})
	if err != nil {
		cl.r.history.problem("encode a spec: %v", err)
	}
	return s
}

// submitting submits like the server that a client asks: with a first assignment if there is room.
func submitting(s sim.Submit) func(context.Context, *node.Node) (fsm.Result, error) {
	return func(ctx context.Context, n *node.Node) (fsm.Result, error) {
		if err := n.CheckLeader(); err != nil {
			return fsm.Result{}, err
		}
		// An earlier attempt may still be under way.
		return n.Submit(ctx, proto.CloneOf(s.Op), s.Spec)
	}
}

func (cl *client) submit(s sim.Submit) {
	res, err := try(cl, submitting(s))
	switch {
	case err == nil:
		cl.r.history.submitted(s.Key(), res)
	case cl.r.ctx.Err() == nil:
		cl.r.history.problem("submit %s: %v", s.Op.Key, err)
	}
}

// conflict uses a request key again with another content. If the key is known, the request must be refused; the
// first use may have failed for good, though it never does here.
func (cl *client) conflict(s sim.Submit) {
	_, err := try(cl, submitting(s.Conflict()))
	if cl.r.ctx.Err() == nil && task.KindOf(err) != task.KindConflict {
		cl.r.history.problem("submit %s with another content: %v", s.Op.Key, err)
	}
}

func (cl *client) cancel() {
	id, ok := cl.r.history.aJob(cl.random)
	if !ok {
		return
	}
	op := &logpb.Cancel{Job: id, Reason: uint32(task.ReasonUser)}
	if cl.random.IntN(2) == 0 {
		op.Index = new(uint32)
	}
	_, err := try(cl, atLeader(&logpb.Op{Op: &logpb.Op_Cancel{Cancel: op}}))
	if err != nil && task.KindOf(err) != task.KindConflict && cl.r.ctx.Err() == nil {
		cl.r.history.problem("cancel job %d: %v", id, err)
	}
	cl.r.history.count(func(c *Counts) { c.Cancels++ })
}

func (cl *client) checkpoint() {
	id := cl.random.Uint64()
	cl.r.history.mu.Lock()
	cl.r.history.checkpoints = append(cl.r.history.checkpoints, id)
	cl.r.history.mu.Unlock()
	_, err := try(cl, atLeader(&logpb.Op{Op: &logpb.Op_Checkpoint{Checkpoint: &logpb.Checkpoint{Id: id}}}))
	if err != nil && cl.r.ctx.Err() == nil {
		cl.r.history.problem("checkpoint: %v", err)
	}
}

// read reads a job linearizably: it was acknowledged, so it must be there.
func (cl *client) read() {
	id, ok := cl.r.history.aJob(cl.random)
	if !ok {
		return
	}
	_, err := try(cl, cl.linearizable(func(n *node.Node) (bool, error) {
		_, err := n.State().Job(id)
		return true, err
	}))
	if err != nil && cl.r.ctx.Err() == nil {
		cl.r.history.problem("read job %d, which was acknowledged: %v", id, err)
	}
}

// readTask reads a task of which somebody was told that it is final.
func (cl *client) readTask() {
	id, ok := cl.r.history.aKnownTask(cl.random)
	if !ok {
		return
	}
	final, err := try(cl, cl.linearizable(func(n *node.Node) (bool, error) {
		_, final, err := n.State().Cursor(id.Job, id.Index)
		return final, err
	}))
	if cl.r.ctx.Err() == nil && (err != nil || !final) {
		cl.r.history.problem("read task %v, which was final: final is %v: %v", id, final, err)
	}
}

// linearizable makes a read linearizable: at the leader behind a Barrier, or at a
// follower that waits for the index that the leader has behind one.
func (cl *client) linearizable(f func(*node.Node) (bool, error)) func(context.Context, *node.Node) (bool, error) {
	follower := cl.r.c.Servers[cl.random.IntN(len(cl.r.c.Servers))]
	return func(ctx context.Context, n *node.Node) (bool, error) {
		if err := n.Barrier(ctx); err != nil {
			return false, err
		}
		reader := n
		if other := follower.Node(); other != nil && other != n {
			if err := other.WaitApplied(ctx, n.State().Machine().AppliedIndex()); err != nil {
				return false, err
			}
			reader = other
			cl.r.history.count(func(c *Counts) { c.FollowerReads++ })
		} else {
			cl.r.history.count(func(c *Counts) { c.Reads++ })
		}
		ok, err := f(reader)
		if err != nil && reader.Context().Err() != nil {
			return false, task.Errorf(task.KindUnavailable, "the server has ended: %v", err)
		}
		return ok, err
	}
}
