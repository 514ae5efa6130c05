package node

import (
	"context"
	"fmt"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// requests is the way of an op into the log, for the services and for what this server does of its own
// accord. It refuses new work that the disks have no room or no time for, and gives the rest to the
// proposer.
type requests struct {
	proposer opProposer
	state    stateMachine
	// place finds workers for the first tasks of a new job; release is called when the submit has its answer.
	place func(m *fsm.Machine, spec *task.Spec, count uint32) (assign []*logpb.Assign, release func())
	// leads says whether this server leads and is ready.
	leads func() bool
	// diskFull says that the disk of this server is full, majorityFull that those of a majority are.
	diskFull, majorityFull func() bool
	// behind says that too much waits for state.db.
	behind func() bool
	// stallTimeout is how long one entry may wait for its commit before new work is refused.
	stallTimeout time.Duration
}

// opProposer is the proposer, as far as requests use it.
type opProposer interface {
	propose(op *logpb.Op, done func(fsm.Result, error))
	// waiting is how long the oldest entry in flight has waited for its commit; 0: there is none.
	waiting() time.Duration
}

// propose puts op into the log and returns what applying it gave. The error has a kind;
// it is KindUnknownOutcome if ctx ended before the answer came.
func (r *requests) propose(ctx context.Context, op *logpb.Op) (fsm.Result, error) {
	return await(ctx, func(done func(fsm.Result, error)) { r.proposeAsync(op, done) })
}

// submit is submitAsync with the wait of propose.
func (r *requests) submit(ctx context.Context, op *logpb.Submit, spec *task.Spec) (fsm.Result, error) {
	return await(ctx, func(done func(fsm.Result, error)) { r.submitAsync(op, spec, done) })
}

// await waits for what begin hands to done.
func await(ctx context.Context, begin func(done func(fsm.Result, error))) (fsm.Result, error) {
	type answer struct {
		result fsm.Result
		err    error
	}
	got := make(chan answer, 1)
	begin(func(r fsm.Result, err error) { got <- answer{r, err} })
	select {
	case a := <-got:
		return a.result, a.err
	case <-ctx.Done():
		return fsm.Result{}, &task.Error{Kind: task.KindUnknownOutcome, Msg: "the request ended before its outcome was known", Err: ctx.Err()}
	}
}

// proposeAsync is propose without the wait: done is called once, and must not block.
func (r *requests) proposeAsync(op *logpb.Op, done func(fsm.Result, error)) {
	var err error
	switch {
	case laneOf(op) == submitLane:
		err = r.room()
	case endsJob(op) && r.behind():
		err = errDiskBehind()
	}
	if err != nil {
		done(fsm.Result{}, err)
		return
	}
	r.proposer.propose(op, done)
}

// submitAsync proposes a submit. If there are workers for it at once, its first assignment is
// in the same entry.
func (r *requests) submitAsync(op *logpb.Submit, spec *task.Spec, done func(fsm.Result, error)) {
	m := r.state.Machine()
	if err := fsm.Supports(m.ActiveVersion(), spec.Needs()); err != nil {
		done(fsm.Result{}, err)
		return
	}
	release := func() {}
	if r.leads() && !op.Open {
		op.Assign, release = r.place(m, spec, op.Tasks.GetCount())
	}
	r.proposeAsync(&logpb.Op{Op: &logpb.Op_Submit{Submit: op}}, func(res fsm.Result, err error) {
		release()
		done(res, err)
	})
}

// endsJob says that an op cancels a whole job: 10 bytes that may cause as much to write as a large submit.
func endsJob(op *logpb.Op) bool {
	c := op.GetCancel()
	return c != nil && c.Index == nil
}

// room refuses new work while the disks do not keep up with what is there.
func (r *requests) room() error {
	switch {
	case r.diskFull():
		return &task.Error{Kind: task.KindExhausted, Msg: "the server's disk is full, or it has no file descriptor left: free some space, or raise its ulimit -n", RetryAfter: time.Second}
	case r.majorityFull():
		return errMajorityFull()
	case r.behind():
		return errDiskBehind()
	}
	// What is in flight then may yet be committed. What is new should not wait behind it
	// for an answer that says less.
	if stalled := r.proposer.waiting(); stalled > r.stallTimeout {
		return &task.Error{Kind: task.KindExhausted, Msg: fmt.Sprintf("no majority of the servers has stored anything for %v: %s", stalled.Round(time.Second), lookAtDisks), RetryAfter: time.Second}
	}
	return nil
}

func errDiskBehind() *task.Error {
	return &task.Error{Kind: task.KindExhausted, Msg: "the server's disk does not keep up; try again", RetryAfter: retryDelay}
}

func errMajorityFull() *task.Error {
	return &task.Error{Kind: task.KindExhausted, Msg: "the disks of a majority of the servers are full: free some space", RetryAfter: time.Second}
}

// lookAtDisks is what to do if a leader is alive and nothing is committed.
const lookAtDisks = "see that their disks are not full"
