package sim

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// queues are the queues of the jobs.
var queues = []string{task.DefaultQueue, "zzz", "aaa"}

// Submit is what a client submits. Spec is complete; its encoding in Op is not.
type Submit struct {
	Op   *logpb.Submit
	Spec *task.Spec
}

// Key is the name of its request key.
func (s Submit) Key() KeyName { return KeyName{Queue: s.Spec.Queue, Key: s.Op.Key} }

// Conflict is a submit with another content under the same key.
func (s Submit) Conflict() Submit {
	return Submit{&logpb.Submit{Spec: s.Op.Spec, Tasks: s.Op.Tasks, Key: s.Op.Key, Hash: []byte("other")}, s.Spec}
}

// Load makes up what one client submits.
type Load struct {
	client string
	random *rand.Rand
	next   int
	sent   []Submit
}

// NewLoad returns the load of a client.
func NewLoad(client string, random *rand.Rand) *Load { return &Load{client: client, random: random} }

// Again draws what was submitted before, to be sent once more. ok is false if there is nothing.
func (l *Load) Again() (s Submit, ok bool) {
	if len(l.sent) == 0 {
		return s, false
	}
	return l.sent[l.random.IntN(len(l.sent))], true
}

// New makes up a job. change gives it what only one simulation has. A job that is open grows, and is not sent again.
func (l *Load) New(change func(op *logpb.Submit, spec *task.Spec)) (Submit, error) {
	l.next++
	spec := &task.Spec{Handler: "work", MaxAttempts: uint32(1 + l.random.IntN(4)), Priority: int32(l.random.IntN(3))}
	spec.Queue = queues[l.random.IntN(len(queues))]
	op := &logpb.Submit{Tasks: &logpb.Tasks{Count: uint32(1 + l.random.IntN(10))}, Key: l.client + "-" + strconv.Itoa(l.next)}
	switch n := l.random.IntN(100); {
	case n < 30:
		spec.Serial, op.Tasks.Count = true, min(op.Tasks.Count, 4)
	case n < 40:
		spec.MaxParallel = uint32(1 + l.random.IntN(3))
	case n < 50:
		spec.Delay = l.below(5 * time.Second)
	case n < 53:
		op.Tasks.Count = uint32(250 + l.random.IntN(300)) // more than a page of slots
	}
	if l.random.IntN(100) < 12 {
		spec.Expire = time.Millisecond + l.below(15*time.Second)
	}
	if l.random.IntN(100) < 45 {
		spec.Policy = task.Random
	}
	change(op, spec)
	if l.random.IntN(100) < 25 {
		op.Tasks.Packed = Payloads(0, op.Tasks.Count)
	}
	var err error
	op.Spec, err = fsm.EncodeSpec(spec)
	op.Hash = hashOf(op)
	spec.SetDefaults()
	s := Submit{op, spec}
	if !op.Open {
		l.sent = append(l.sent, s)
	}
	return s, err
}

func (l *Load) below(d time.Duration) time.Duration { return time.Duration(l.random.Int64N(int64(d))) }

// Payloads returns the payloads of count tasks from first on.
func Payloads(first, count uint32) (packed []byte) {
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
