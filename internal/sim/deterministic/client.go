package deterministic

import (
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/task"
)

// callTimeout is how long a client waits for an answer before it sends its request again.
const callTimeout = 500 * time.Millisecond

// client makes requests, several at a time, and sends each again until it is answered.
type client struct {
	w    *world
	name string
	load *sim.Load
	// busy is how many requests and open jobs it has to see through.
	busy int
}

func newClient(w *world, i int) *client {
	c := &client{w: w, name: "c" + strconv.Itoa(i+1)}
	c.load = sim.NewLoad(c.name, w.random)
	w.after(w.between(0, 500*time.Millisecond), c.act)
	return c
}

// act begins something, and schedules the next act.
func (c *client) act() {
	if c.w.healed {
		return
	}
	switch n := c.w.below(100); {
	case n < 38:
		c.submit(c.newSubmit(false), nil)
	case n < 50:
		c.grow()
	case n < 56:
		if s, ok := c.load.Again(); ok {
			c.submit(s, nil)
		}
	case n < 60:
		if s, ok := c.load.Again(); ok {
			c.conflict(s)
		}
	case n < 70:
		c.cancel()
	case n < 72:
		c.request("checkpoint", func(*tenure) (*logpb.Op, func()) {
			return &logpb.Op{Op: &logpb.Op_Checkpoint{Checkpoint: &logpb.Checkpoint{Id: uint64(c.w.below(1000))}}}, nil
		}, c.fine("checkpoint"))
	default:
		c.read()
	}
	c.w.after(c.w.between(10*time.Millisecond, 400*time.Millisecond), c.act)
}

// request sends a request to the server that it believes to be the leader, until an answer says what became of it.
// make makes the op, and what to do when its entry was applied.
func (c *client) request(what string, makeOp func(*tenure) (*logpb.Op, func()), done func(fsm.Result, error)) {
	c.busy++
	answered := false
	var try func()
	again := func() { c.w.after(c.w.between(10*time.Millisecond, 300*time.Millisecond), try) }
	try = func() {
		t := c.w.tenure
		if z := c.w.zombie; z != nil && (t == nil || c.w.chance(20)) {
			t = z
		}
		if answered || c.w.over {
			return
		}
		if t == nil {
			again()
			return
		}
		over := false // this attempt
		retry := func() {
			if !over && !answered {
				over = true
				again()
			}
		}
		c.w.after(callTimeout, retry)
		if c.w.lost() {
			return
		}
		c.w.after(c.w.latency(), func() {
			if t.ended {
				retry()
				return
			}
			op, release := makeOp(t)
			t.propose(op, func(r fsm.Result, err error) {
				if release != nil {
					release()
				}
				if c.w.lost() {
					return
				}
				c.w.after(c.w.latency(), func() {
					kind := task.KindOf(err)
					switch {
					case answered:
					case kind == task.KindUnknownOutcome || kind == task.KindUnavailable:
						retry()
					default:
						answered = true
						c.busy--
						c.w.tracef("%s: %s answered: j%d %v", c.name, what, r.Job, kind)
						done(r, err)
					}
				})
			})
		})
	}
	try()
}

// fine is for requests that may fail in the given ways only.
func (c *client) fine(what string, kinds ...task.Kind) func(fsm.Result, error) {
	return func(_ fsm.Result, err error) {
		kind := task.KindOf(err)
		for _, k := range kinds {
			if kind == k {
				return
			}
		}
		if err != nil {
			c.w.problem("%s: %s: %v", c.name, what, err)
		}
	}
}

// newSubmit makes up a job.
func (c *client) newSubmit(open bool) sim.Submit {
	w := c.w
	s, err := c.load.New(func(op *logpb.Submit, spec *task.Spec) {
		spec.Retention = w.between(100*time.Millisecond, 10*time.Second)
		if w.chance(30) {
			spec.Timeout = w.between(100*time.Millisecond, 3*time.Second)
		}
		if w.chance(5) {
			spec.Delay, spec.NotBefore = 0, w.clock()+int64(w.between(-time.Second, 5*time.Second))
		}
		switch n := w.below(100); {
		case n < 10:
			spec.Require = []task.Pair{{Key: "zone", Value: string(rune('a' + w.below(2)))}}
		case n < 18:
			spec.Handler, spec.Command = "", []string{"true"}
		}
		op.Open, op.Hold = open, open && w.chance(30)
		if open && w.chance(30) {
			op.Tasks.Count = 0
		}
		if id, ok := w.ledger.aJob(); ok && w.chance(5) {
			op.RetryOf = id
		}
	})
	if err != nil {
		w.problem("encode a spec: %v", err)
	}
	return s
}

// submit submits like the server that a client asks: with a first assignment if there is room.
func (c *client) submit(s sim.Submit, then func(job uint64)) {
	c.request("submit "+s.Op.Key, func(t *tenure) (*logpb.Op, func()) {
		op := proto.CloneOf(s.Op)
		release := func() {}
		if !op.Open {
			op.Assign, release = t.fleet.Place(t.r.m, s.Spec, op.Tasks.GetCount())
			t.checkPlace(s.Spec, op.Assign)
		}
		return &logpb.Op{Op: &logpb.Op_Submit{Submit: op}}, release
	}, func(r fsm.Result, err error) {
		if err != nil {
			c.w.problem("%s: submit %s: %v", c.name, s.Op.Key, err)
			return
		}
		c.w.ledger.submitted(s.Key(), r)
		if then != nil {
			then(r.Job)
		}
	})
}

// conflict uses a request key again with another content. It may come before the first use.
func (c *client) conflict(s sim.Submit) {
	if !c.w.ledger.Acknowledged(s.Key()) {
		return
	}
	c.w.counts.Conflicts++
	c.request("conflict "+s.Op.Key, func(*tenure) (*logpb.Op, func()) {
		return &logpb.Op{Op: &logpb.Op_Submit{Submit: s.Conflict().Op}}, nil
	}, func(_ fsm.Result, err error) {
		if task.KindOf(err) != task.KindConflict {
			c.w.problem("%s: submit %s with another content: %v", c.name, s.Op.Key, err)
		}
	})
}

// grow submits an open job, appends to it and closes it.
func (c *client) grow() {
	s := c.newSubmit(true)
	own := len(s.Op.Tasks.Packed) > 0 || s.Op.Tasks.Count == 0 && c.w.chance(25)
	c.submit(s, func(job uint64) {
		c.busy++
		c.appendMore(job, s.Op.Tasks.Count, own, c.w.below(4))
	})
}

func (c *client) appendMore(job uint64, total uint32, own bool, left int) {
	if left == 0 && total > 0 {
		if c.w.nature.forgetful && c.w.chance(30) { // it is forgotten: somebody else has to end it
			c.busy--
			return
		}
		c.request("close", func(*tenure) (*logpb.Op, func()) {
			return &logpb.Op{Op: &logpb.Op_CloseTasks{CloseTasks: &logpb.CloseTasks{Job: job, Total: total}}}, nil
		}, c.grown(job, func(fsm.Result) { c.busy-- }))
		return
	}
	op := &logpb.AppendTasks{Job: job, FirstIndex: total, Tasks: &logpb.Tasks{Count: uint32(1 + c.w.below(6))}}
	switch {
	case c.w.chance(4):
		op.Tasks.Count = 300
	case c.w.chance(4): // it has nothing to add yet, and says that it is there
		op.Tasks.Count = 0
	}
	if own && op.Tasks.Count > 0 {
		op.Tasks.Packed = sim.Payloads(total, op.Tasks.Count)
	}
	c.w.counts.Appends++
	c.request("append", func(*tenure) (*logpb.Op, func()) {
		return &logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: proto.CloneOf(op)}}, nil
	}, c.grown(job, func(r fsm.Result) {
		if want := total + op.Tasks.Count; r.Total < want || !r.Existed && r.Total != want {
			c.w.problem("%s: job %d has %d tasks behind an append from %d to %d", c.name, job, r.Total, total, want)
		}
		total += op.Tasks.Count
		c.w.after(c.w.between(0, time.Second), func() { c.appendMore(job, total, own, max(left-1, 0)) })
	}))
}

// grown goes on with an open job, unless it was cancelled or is over.
func (c *client) grown(job uint64, then func(fsm.Result)) func(fsm.Result, error) {
	return func(r fsm.Result, err error) {
		if err == nil {
			then(r)
			return
		}
		c.busy--
		// Nobody else appends to the job or closes it. So only its end, or that of its retention, may be the reason.
		if j := c.w.model.Jobs[job]; j != nil && j.CancelReason == 0 {
			c.w.problem("%s: job %d cannot grow: %v", c.name, job, err)
		}
	}
}

func (c *client) cancel() {
	id, ok := c.w.ledger.aJob()
	if !ok {
		return
	}
	op := &logpb.Cancel{Job: id, Reason: uint32(task.ReasonUser)}
	if c.w.chance(50) {
		op.Index = proto.Uint32(uint32(c.w.below(6)))
	}
	c.w.counts.Cancels++
	c.request("cancel", func(*tenure) (*logpb.Op, func()) {
		return &logpb.Op{Op: &logpb.Op_Cancel{Cancel: op}}, nil
	}, c.fine("cancel", task.KindConflict, task.KindNotFound))
}

// read looks at results at some server, however far behind it is.
func (c *client) read() {
	r := c.w.replicas[c.w.below(len(c.w.replicas))]
	if id, ok := c.w.ledger.aJob(); ok && r.m != nil {
		c.w.ledger.read(r, id, false)
	}
}
