package store

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

var (
	queues      = []string{"default", "other"}
	requestKeys = []string{"k1", "k2", "k\x003"}
	workers     = []string{"w1", "w2", "w3", "w4"}
	zones       = []string{"a", "b"}
)

// weighted is choices with how likely each is.
type weighted[V any] []struct {
	weight int
	value  V
}

func pick[V any](w *world, label string, from weighted[V]) V {
	sum := 0
	for _, c := range from {
		sum += c.weight
	}
	n := w.below(sum, label)
	for _, c := range from {
		if n -= c.weight; n < 0 {
			return c.value
		}
	}
	panic("unreachable")
}

// below draws a number below n, each with the same probability. Rapid mostly draws small numbers from a range, and
// rare paths would be rarer still.
func (w *world) below(n int, label string) int {
	return int(bits16.Draw(w.T, label)) * n >> 16
}

var bits16 = rapid.Custom(func(t *rapid.T) uint16 {
	n := uint16(0)
	for range 16 {
		n <<= 1
		if rapid.Bool().Draw(t, "bit") {
			n |= 1
		}
	}
	return n
})

func (w *world) chance(label string, percent int) bool { return w.below(100, label) >= 100-percent }

func of[V any](w *world, label string, values ...V) V { return values[w.below(len(values), label)] }

// between draws a number from low to high.
func (w *world) between(label string, low, high uint64) uint64 {
	return low + uint64(w.below(int(high-low+1), label))
}

func (w *world) moveClock() {
	w.clock += int64(pick(w, "clock", weighted[time.Duration]{
		{10, time.Millisecond}, {5, 0}, {5, 2 * time.Second}, {3, 30 * time.Second}, {2, 11 * time.Minute}, {1, 25 * time.Hour}, {1, 8 * 24 * time.Hour}, {1, -time.Hour},
	}))
}

// op draws one op.
func (w *world) op() *logpb.Op {
	return pick(w, "op", weighted[func() *logpb.Op]{
		{8, w.opSubmit}, {4, w.opAppend}, {2, w.opClose}, {3, w.opCancel}, {3, w.opOpenSession}, {2, w.opCloseSession},
		{8, func() *logpb.Op { return w.opPlan(true) }}, {5, w.opHostilePlan}, {10, w.opReport}, {3, w.opRepeat}, {6, w.opOverdue}, {4, w.opExpire}, {3, w.opCollect}, {1, w.opRare}, {2, w.opServer}, {4, w.opAccess},
	})()
}

func (w *world) opRare() *logpb.Op {
	if w.chance("rise", 40) {
		return opRise(uint32(w.between("version", 1, fsm.Version)))
	}
	if w.chance("init", 50) {
		return opInit(of(w, "cluster", "", "c1", "c2"))
	}
	return &logpb.Op{Op: &logpb.Op_Checkpoint{Checkpoint: &logpb.Checkpoint{Id: rapid.Uint64().Draw(w.T, "checkpoint")}}}
}

func opInit(cluster string) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_InitCluster{InitCluster: &logpb.InitCluster{ClusterId: cluster}}}
}

func opRise(version uint32) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_SetVersion{SetVersion: &logpb.SetVersion{Version: version}}}
}

// opServer records and forgets servers, mostly such as there can be.
func (w *world) opServer() *logpb.Op {
	known := w.model.ServerList()
	s := &logpb.ServerRecord{
		NodeId: "n" + strconv.Itoa(w.below(2*task.MaxServers, "node")), ServerId: of(w, "server id", "a", "b"), Addr: of(w, "addr", "h:1", "h:2"),
		PeerAddr: "h:3", HttpAddr: of(w, "http addr", "", "h:4"), Version: of(w, "version", "", "v1"), Vote: w.chance("vote", 30),
	}
	if len(known) > 0 && w.chance("known", 40) {
		s.NodeId = of(w, "of them", known...).NodeId
	}
	if len(known) > 0 && w.chance("forget", 20) {
		return &logpb.Op{Op: &logpb.Op_DeleteServer{DeleteServer: &logpb.DeleteServer{NodeId: s.NodeId, ServerId: s.ServerId}}}
	}
	if w.chance("remove", 20) {
		// Under an id of its own most of the time: what was removed cannot be recorded any more.
		o := &logpb.RemoveServer{NodeId: s.NodeId, ServerId: of(w, "removed id", "a", "c"+strconv.Itoa(w.below(1000, "number")), "c/1")}
		return &logpb.Op{Op: &logpb.Op_RemoveServer{RemoveServer: o}}
	}
	if w.chance("malformed", 15) {
		of(w, "how", func() { s.NodeId = "n/1" }, func() { s.ServerId = "" }, func() { s.Addr = strings.Repeat("x", task.MaxAddr+1) },
			func() { s.PeerAddr = "" }, func() { s.HttpAddr = "\x1b[31m" }, func() { s.Version = strings.Repeat("v", task.MaxName+1) })()
	}
	return &logpb.Op{Op: &logpb.Op_PutServer{PutServer: &logpb.PutServer{Server: s}}}
}

// opAccess makes and revokes access tokens, mostly such as there can be.
func (w *world) opAccess() *logpb.Op {
	hash := sha256.Sum256(fmt.Append(nil, w.below(5, "secret")))
	if w.chance("revoke", 30) {
		return &logpb.Op{Op: &logpb.Op_RevokeAccessToken{RevokeAccessToken: &logpb.RevokeAccessToken{Hash: hash[:]}}}
	}
	if w.chance("same id", 25) {
		hash[len(hash)-1]++ // another token with the beginning of this one
	}
	t := &logpb.AccessToken{
		Hash: hash[:], Name: of(w, "token name", "ci", "cd"), Role: of(w, "role", "read", "submit", "worker"), Rate: uint32(w.below(2, "rate")),
		TtlNs: int64(of(w, "ttl", 0, time.Second, time.Hour)), Creator: of(w, "creator", "", "admin/a"),
	}
	if w.chance("limited", 50) {
		t.Queues = []string{of(w, "queues", "team-*", "q")}
	}
	if w.chance("malformed", 10) {
		of(w, "how", func() { t.Hash = t.Hash[1:] }, func() { t.Name = "" }, func() { t.Role = "server" }, func() { t.Queues = []string{"a*b"} }, func() { t.TtlNs = -1 })()
	}
	return &logpb.Op{Op: &logpb.Op_CreateAccessToken{CreateAccessToken: &logpb.CreateAccessToken{Token: t}}}
}

// opServers records as many servers as there is room for, and one more.
func (w *world) opServers() (ops []*logpb.Op) {
	for i := range task.MaxServers + 1 {
		s := &logpb.ServerRecord{NodeId: "m" + strconv.Itoa(i), ServerId: "a", Addr: "h:1", PeerAddr: "h:3"}
		ops = append(ops, &logpb.Op{Op: &logpb.Op_PutServer{PutServer: &logpb.PutServer{Server: s}}})
	}
	return ops
}

// jobID draws a job that was made, mostly one that is not final; or one that never was.
func (w *world) jobID() uint64 {
	var live []uint64
	for _, j := range w.model.JobList() {
		if j.Finished == 0 {
			live = append(live, j.ID)
		}
	}
	if len(live) > 0 && w.chance("live", 80) {
		return of(w, "job", live...)
	}
	return w.between("job", 0, w.model.NextJob)
}

func (w *world) opSubmit() *logpb.Op {
	s := &task.Spec{
		Queue: of(w, "queue", queues...), MaxAttempts: uint32(w.between("attempts", uint64(1), uint64(3))),
		Priority: of[int32](w, "priority", 0, 0, 5), Serial: w.chance("serial", 30), MaxParallel: of[uint32](w, "parallel", 0, 0, 1, 3),
		Policy: of(w, "policy", task.LeastLoaded, task.Random), Name: of(w, "name", "", "n"),
	}
	if w.chance("command", 30) {
		s.Command = []string{"true"}
	} else {
		s.Handler = of(w, "handler", "h1", "h2")
	}
	if w.chance("require", 15) {
		s.Require = []task.Pair{{Key: "zone", Value: of(w, "zone", zones...)}}
	}
	switch {
	case w.chance("delay", 10):
		s.Delay = of(w, "delay by", time.Second, 10*time.Second, 30*24*time.Hour)
	case w.chance("not before", 10):
		s.NotBefore = w.clock + int64(of(w, "until", -time.Hour, time.Second, time.Minute))
	}
	switch pick(w, "spec size", weighted[int]{{70, 0}, {15, 1}, {15, 2}}) {
	case 1:
		s.SharedPayload = bytes.Repeat([]byte("s"), fsm.SpecApart)
	case 2:
		s.SharedPayload = bytes.Repeat([]byte("s"), inlineBytes+1)
	}
	open := w.chance("open", 30)
	if w.chance("expire", 25) || open && w.chance("expire while open", 40) {
		s.Expire = of(w, "expire by", time.Second, 20*time.Second, 20*time.Minute)
	}
	if w.chance("timeout", 60) {
		s.Timeout = of(w, "timeout after", time.Nanosecond, time.Second, time.Second, time.Hour)
	}
	if w.chance("retention", 30) {
		s.Retention = of(w, "retention for", time.Nanosecond, time.Second, 48*time.Hour)
	}
	o := &logpb.Submit{Open: open, Hold: w.chance("hold", 15), RetryOf: of[uint64](w, "retry of", 0, 0, 1)}
	o.Tasks = w.tasks(o.Open, w.chance("own", 50))
	if w.chance("key", 35) {
		o.Key, o.Hash = of(w, "request key", requestKeys...), []byte(of(w, "hash", "x", "x", "y"))
	}
	for w.chance("assign", 25) {
		o.Assign = append(o.Assign, &logpb.Assign{
			Job: 99, Session: w.sessionID(), First: of[uint32](w, "from", 0, 0, 0, 1, math.MaxUint32), Count: of[uint32](w, "to", 1, 1, 2, o.Tasks.Count, math.MaxUint32),
		})
	}
	var err error
	o.Spec, err = fsm.EncodeSpec(s)
	require.NoError(w, err)
	if len(w.specs) > 0 && w.chance("spec again", 40) {
		o.Spec = of(w, "spec", w.specs...) // jobs with the same bytes share it
	}
	w.specs = append(w.specs, o.Spec)
	if w.chance("bad", 6) {
		w.spoil(s, o)
	}
	return &logpb.Op{Op: &logpb.Op_Submit{Submit: o}}
}

// spoil makes a submit one that must be refused.
func (w *world) spoil(s *task.Spec, o *logpb.Submit) {
	switch int(w.between("what is bad", uint64(0), uint64(6))) {
	case 0:
		o.Spec = []byte{0xff}
	case 1:
		s.Policy = 9
		o.Spec, _ = fsm.EncodeSpec(s)
	case 2:
		s.Handler, s.Command = "", nil
		o.Spec, _ = fsm.EncodeSpec(s)
	case 3:
		o.Tasks = &logpb.Tasks{Count: task.MaxTasks + 1}
	case 4:
		o.Tasks = &logpb.Tasks{Count: 2, Packed: []byte{200}}
	case 5:
		o.Key = string(bytes.Repeat([]byte("k"), task.MaxRequestKey+1))
	case 6:
		o.Tasks = nil
	}
}

// tasks draws a run of tasks: mostly one, some, or more than a page of them.
func (w *world) tasks(zeroOK, own bool) *logpb.Tasks {
	least := uint32(1)
	if zeroOK {
		least = 0
	}
	t := &logpb.Tasks{}
	switch pick(w, "size", weighted[int]{{45, 1}, {45, 2}, {10, 3}}) {
	case 1:
		t.Count = max(least, 1-min(1, least))
		if !zeroOK {
			t.Count = 1
		}
	case 2:
		t.Count = uint32(w.between("count", uint64(least), uint64(12)))
	case 3:
		t.Count = of[uint32](w, "many", 255, 256, 257, 300, 520)
	}
	if !own {
		return t
	}
	for i := range t.Count {
		t.Packed = task.PackAppend(t.Packed, fmt.Appendf(nil, "p%d", i))
	}
	if t.Count == 1 && w.chance("large", 15) {
		t.Packed = task.PackAppend(nil, bytes.Repeat([]byte("p"), inlineBytes+1))
	}
	return t
}

func (w *world) opAppend() *logpb.Op {
	if len(w.appends) > 0 && w.chance("append again", 20) {
		return &logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: of(w, "append", w.appends...)}}
	}
	o := &logpb.AppendTasks{Job: w.openJobID()}
	own := w.chance("own", 50)
	if j := w.model.Jobs[o.Job]; j != nil {
		o.FirstIndex = j.Total()
		if j.Total() > 0 && w.chance("alike", 90) {
			own = j.Own
		}
	}
	o.FirstIndex += of[uint32](w, "gap", 0, 0, 0, 0, 0, 0, 1, math.MaxUint32)
	o.Tasks = &logpb.Tasks{}
	if !w.chance("none", 5) {
		o.Tasks = w.tasks(false, own)
	}
	w.appends = append(w.appends, o)
	return &logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: o}}
}

func (w *world) openJobID() uint64 {
	var open []uint64
	for _, j := range w.model.JobList() {
		if j.Open {
			open = append(open, j.ID)
		}
	}
	if len(open) > 0 && w.chance("open one", 85) {
		return of(w, "open job", open...)
	}
	return w.jobID()
}

func (w *world) opClose() *logpb.Op {
	o := &logpb.CloseTasks{Job: w.openJobID()}
	if w.chance("any", 30) {
		o.Job = w.between("job", 0, w.model.NextJob)
	}
	if j := w.model.Jobs[o.Job]; j != nil {
		o.Total = j.Total()
	}
	o.Total += of[uint32](w, "off", 0, 0, 0, 0, 0, 1)
	return &logpb.Op{Op: &logpb.Op_CloseTasks{CloseTasks: o}}
}

func (w *world) opCancel() *logpb.Op {
	o := &logpb.Cancel{Job: w.jobID(), Reason: of[uint32](w, "reason", 7, 7, 7, 7, 7, 7, 7, 0, 9, 256+7), Step: w.step()}
	if j := w.model.Jobs[o.Job]; j != nil && w.chance("one task", 60) {
		o.Index = proto.Uint32(uint32(w.between("index", uint64(0), uint64(j.Total()))))
	}
	return &logpb.Op{Op: &logpb.Op_Cancel{Cancel: o}}
}

func (w *world) opExpire() *logpb.Op {
	jobs, _ := w.state.Machine().Due(max(w.clock, w.model.Clock), 100)
	return &logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: append(jobs, w.jobID()), Step: w.step()}}}
}

// sweepSlowly cancels a job of some pages, or lets it expire, a page or two at a time, while workers go on with it.
// Later ops may find it half swept.
func (w *world) sweepSlowly() {
	spec := &task.Spec{Handler: "h1", MaxAttempts: 3, Expire: of(w, "expires in", 0, time.Second)}
	raw, err := fsm.EncodeSpec(spec)
	require.NoError(w, err)
	total := of[uint32](w, "tasks", 513, 700, 1024)
	job := w.apply(&logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: raw, Tasks: &logpb.Tasks{Count: total}}}})[0].Job
	w.apply(w.opEverySession())
	session := w.model.NextSession - 1
	some := func() *logpb.Op {
		a := &logpb.Assign{Job: job, First: uint32(w.below(int(total), "first")), Count: uint32(w.below(int(total), "count")), Session: session}
		return &logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: &logpb.ApplyPlan{Assign: []*logpb.Assign{{Job: job, Count: uint32(w.below(int(total), "granted")), Session: session}, a}}}}
	}
	cancel := func(index *uint32) *logpb.Op {
		return &logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: job, Index: index, Reason: uint32(task.ReasonUser), Step: w.step()}}}
	}
	begin := func() *logpb.Op {
		if spec.Expire > 0 {
			return &logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: []uint64{job}, Step: 1}}}
		}
		return &logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: job, Reason: uint32(task.ReasonUser), Step: 1}}}
	}
	ops := weighted[func() *logpb.Op]{
		{3, some}, {4, w.opReport}, {4, w.opExpire}, {1, w.opOpenSession}, {3, func() *logpb.Op { return cancel(nil) }},
		{1, func() *logpb.Op { return cancel(proto.Uint32(uint32(w.below(int(total), "index")))) }},
		{3, func() *logpb.Op {
			return &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: session}}}
		}},
	}
	w.apply(some())
	w.apply(w.opReport())
	w.clock = max(w.clock, w.model.Clock) + int64(time.Second)
	w.apply(begin())
	for range w.between("steps", 1, 8) {
		w.apply(pick(w, "while it is swept", ops)())
	}
}

// step draws how much of a job an entry goes through: all, or a page or two.
func (w *world) step() uint32 { return of[uint32](w, "step", 0, 1, 1, 2, 100, 300, math.MaxUint32) }

// opCollectAll also names jobs that are not on disk here: on the leader they may be.
func (w *world) opCollectAll() *logpb.Op {
	o := &logpb.Collect{Jobs: slices.Sorted(maps.Keys(w.model.Jobs))}
	for _, queue := range queues {
		for _, key := range requestKeys {
			o.Keys = append(o.Keys, &logpb.KeyRef{Queue: queue, Key: key})
		}
	}
	return &logpb.Op{Op: &logpb.Op_Collect{Collect: o}}
}

func (w *world) opCollect() *logpb.Op {
	if w.chance("whatever there is", 60) {
		return w.opCollectAll()
	}
	jobs, keys, err := w.state.Due(w.clock, 100)
	require.NoError(w, err)
	over := w.chance("over budget", 10)
	return &logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: append(jobs, w.jobID()), Keys: keys, OverBudget: over}}}
}
