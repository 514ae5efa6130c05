package deterministic

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// callTimeout is how long a client waits for an answer before it sends its request again.
const callTimeout = 500 * time.Millisecond

// queues is those that jobs stand in.
var queues = []string{task.DefaultQueue, "zzz", "aaa"}

// client makes requests, several at a time, and sends each again until it is answered.
type client struct {
	w    *world
	name string
	next int
	// busy is how many requests and open jobs it has to see through.
	busy int
	sent []*logpb.Submit
}

func newClient(w *world, i int) *client {
	c := &client{w: w, name: "c" + strconv.Itoa(i+1)}
	w.after(w.between(0, 500*time.Millisecond), c.act)
	return c
}

// act begins something, and sees to the next thing.
func (c *client) act() {
	if c.w.healed {
		return
	}
	switch n := c.w.below(100); {
	case n < 38:
		c.submit(c.newSubmit(false), nil)
	case n < 50:
		c.grow()
	case n < 56 && len(c.sent) > 0:
		c.submit(c.anySent(), nil)
	case n < 60 && len(c.sent) > 0:
		c.conflict(c.anySent())
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

func (c *client) anySent() *logpb.Submit { return c.sent[c.w.below(len(c.sent))] }

// request sends a request to whoever is taken for the leader, until there is an answer that
// says what became of it. make makes the op, and what is to be done when its entry was applied.
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

// fine is done for requests that must not fail, but in the given ways.
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
func (c *client) newSubmit(open bool) *logpb.Submit {
	w := c.w
	c.next++
	spec := &task.Spec{Handler: "work", MaxAttempts: uint32(1 + w.below(4)), Retention: w.between(100*time.Millisecond, 10*time.Second), Priority: int32(w.below(3))}
	count := uint32(1 + w.below(10))
	if w.chance(30) {
		spec.Timeout = w.between(100*time.Millisecond, 3*time.Second)
	}
	switch n := w.below(100); {
	case n < 30:
		spec.Serial, count = true, min(count, 4)
	case n < 40:
		spec.MaxParallel = uint32(1 + w.below(3))
	case n < 50:
		spec.Delay = w.between(0, 5*time.Second)
	case n < 55:
		spec.NotBefore = w.clock() + int64(w.between(-time.Second, 5*time.Second))
	}
	switch n := w.below(100); {
	case n < 12:
		spec.Expire = w.between(time.Millisecond, 15*time.Second)
	case n < 22:
		spec.Require = []task.Pair{{Key: "zone", Value: string(rune('a' + w.below(2)))}}
	case n < 30:
		spec.Handler, spec.Command = "", []string{"true"}
	case n < 33 && !spec.Serial:
		count = uint32(250 + w.below(300)) // more than a page of slots
	}
	if w.chance(40) {
		spec.Policy = task.Random
	}
	spec.Queue = queues[w.below(len(queues))]
	raw, err := fsm.EncodeSpec(spec)
	if err != nil {
		w.problem("encode a spec: %v", err)
	}
	op := &logpb.Submit{Spec: raw, Tasks: &logpb.Tasks{Count: count}, Key: c.name + "-" + strconv.Itoa(c.next), Open: open, Hold: open && w.chance(30)}
	if open && w.chance(30) {
		op.Tasks.Count = 0
	}
	if w.chance(25) {
		op.Tasks.Packed = payloads(0, op.Tasks.Count)
	}
	if id, ok := w.ledger.aJob(); ok && w.chance(5) {
		op.RetryOf = id
	}
	op.Hash = hashOf(op)
	c.sent = append(c.sent, op)
	return op
}

func payloads(first, count uint32) (packed []byte) {
	for i := first; i < first+count; i++ {
		packed = task.PackAppend(packed, fmt.Appendf(nil, "payload %d", i))
	}
	return packed
}

func hashOf(op *logpb.Submit) []byte {
	h := fnv.New64a()
	_, _ = h.Write(op.Spec)
	_, _ = h.Write(op.Tasks.Packed)
	_, _ = fmt.Fprint(h, op.Tasks.Count, op.Open)
	return h.Sum(nil)
}

// submit submits like the server that a client asks: with a first assignment where there
// is room.
func (c *client) submit(s *logpb.Submit, then func(job uint64)) {
	spec, err := fsm.DecodeSpec(s.Spec)
	if err != nil {
		c.w.problem("decode a spec: %v", err)
		return
	}
	spec.SetDefaults()
	c.request("submit "+s.Key, func(t *tenure) (*logpb.Op, func()) {
		op := proto.CloneOf(s)
		release := func() {}
		if !op.Open {
			op.Assign, release = t.fleet.Place(t.r.m, spec, op.Tasks.GetCount())
			t.checkPlace(spec, op.Assign)
		}
		return &logpb.Op{Op: &logpb.Op_Submit{Submit: op}}, release
	}, func(r fsm.Result, err error) {
		if err != nil {
			c.w.problem("%s: submit %s: %v", c.name, s.Key, err)
			return
		}
		c.w.ledger.submitted(spec.Queue, s.Key, r)
		if then != nil {
			then(r.Job)
		}
	})
}

// conflict uses a request key again with another content. It may come before the first use.
func (c *client) conflict(s *logpb.Submit) {
	if !c.w.ledger.acknowledged(s.Key) {
		return
	}
	c.w.counts.Conflicts++
	c.request("conflict "+s.Key, func(*tenure) (*logpb.Op, func()) {
		other := &logpb.Submit{Spec: s.Spec, Tasks: s.Tasks, Key: s.Key, Hash: []byte("other")}
		return &logpb.Op{Op: &logpb.Op_Submit{Submit: other}}, nil
	}, func(_ fsm.Result, err error) {
		if task.KindOf(err) != task.KindConflict {
			c.w.problem("%s: submit %s with another content: %v", c.name, s.Key, err)
		}
	})
}

// grow submits an open job, appends to it and closes it.
func (c *client) grow() {
	s := c.newSubmit(true)
	c.sent = c.sent[:len(c.sent)-1] // its total grows: it is not sent again
	own := len(s.Tasks.Packed) > 0 || s.Tasks.Count == 0 && c.w.chance(25)
	c.submit(s, func(job uint64) {
		c.busy++
		c.appendMore(job, s.Tasks.Count, own, c.w.below(4))
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
		op.Tasks.Packed = payloads(total, op.Tasks.Count)
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
		// Only the end of a job, or of its retention, is in the way of what only this client does.
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

// read looks at results at some server, how far behind it may be.
func (c *client) read() {
	r := c.w.replicas[c.w.below(len(c.w.replicas))]
	if id, ok := c.w.ledger.aJob(); ok && r.m != nil {
		c.w.ledger.read(r, id, false)
	}
}
