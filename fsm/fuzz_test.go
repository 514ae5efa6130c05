package fsm_test

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// lived returns a machine that has jobs and tasks in every state.
func lived(t testing.TB) *fsm.Machine {
	t.Helper()
	b := newBundle(t)
	b.openSession("w1", 4)
	plain := b.submit(&task.Spec{Handler: "h"}, 600)
	b.plan(plain, 0, 300, 1)
	b.report(plain, 0, 260, 0, task.OutcomeSucceeded)
	b.report(plain, 270, 1, 0, task.OutcomeFailed)
	b.apply(cancelOp(plain, 271), cancelOp(plain, 500))
	b.apply(submitOp(t, &task.Spec{Handler: "h", Serial: true}, &logpb.Submit{Open: true, Key: "k", Hash: []byte("h"), Tasks: packed(3)}))
	b.apply(submitOp(t, &task.Spec{Command: []string{"c"}, Delay: 1e9, Expire: 2e9, MaxParallel: 1}, &logpb.Submit{Tasks: &logpb.Tasks{Count: 3}}))
	return b.m
}

// hostileOps is ops that no honest proposer sends.
func hostileOps() []*logpb.Op {
	wide := []*logpb.Range{{First: 0, Count: math.MaxUint32}, {First: math.MaxUint32, Count: math.MaxUint32}, {First: 3, Count: 1}}
	group := func(outcome, reason uint32, ranges []*logpb.Range) []*logpb.ReportGroup {
		return []*logpb.ReportGroup{{Job: 1, TokenOffset: 1, Outcome: outcome, Reason: reason, Ranges: ranges, PackedOutputs: []byte{9, 9}}}
	}
	one := []*logpb.Range{{First: 262, Count: 1}}
	spec := func(s *logpb.Spec) []byte { b, _ := proto.Marshal(s); return b }
	good := spec(&logpb.Spec{Handler: "h"})
	var ops []*logpb.Op
	for _, s := range []*logpb.Submit{
		{}, {Spec: []byte{0xff}}, {Spec: spec(&logpb.Spec{Handler: "h", Policy: 99}), Tasks: &logpb.Tasks{Count: 1}},
		{Spec: spec(&logpb.Spec{Handler: "h", DelayNs: math.MaxInt64}), Tasks: &logpb.Tasks{Count: 1}},
		{Spec: spec(&logpb.Spec{Handler: "h", ExpireNs: math.MinInt64}), Tasks: &logpb.Tasks{Count: 1}},
		{Spec: spec(&logpb.Spec{Handler: "h", MaxAttempts: math.MaxUint32}), Tasks: &logpb.Tasks{Count: 1}},
		{Spec: spec(&logpb.Spec{Handler: "h", Queue: "a\x00b"}), Tasks: &logpb.Tasks{Count: 1}},
		{Spec: good, Tasks: &logpb.Tasks{Count: math.MaxUint32}}, {Spec: good, Tasks: &logpb.Tasks{Count: 2, Packed: []byte{1}}},
		{Spec: good, Tasks: &logpb.Tasks{Count: 1}, Key: string(make([]byte, 1<<16))}, {Spec: good},
	} {
		ops = append(ops, &logpb.Op{Op: &logpb.Op_Submit{Submit: s}})
	}
	for _, s := range []*logpb.OpenSession{
		{}, {Session: &logpb.Session{}}, {Session: &logpb.Session{Worker: "w"}},
		{Session: &logpb.Session{Worker: "w", Slots: math.MaxUint32}},
		{Session: &logpb.Session{Worker: "w1", Slots: 1}, Replaces: 1, Held: []*logpb.Held{{Job: 1, TokenOffset: 1, Ranges: wide}}},
		{Session: &logpb.Session{Worker: "w1", Slots: 1}, Replaces: 1, Reports: group(1, 0, wide)},
	} {
		ops = append(ops, &logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: s}})
	}
	for _, g := range [][]*logpb.ReportGroup{group(0, 0, one), group(6, 0, one), group(257, 0, one), group(2, 9, one), group(2, 256, one), group(1, 0, wide)} {
		ops = append(ops, &logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Groups: g}}})
	}
	for _, a := range []*logpb.Assign{{Job: 1, Session: 1, Count: math.MaxUint32}, {Job: 1, Session: 1, First: math.MaxUint32, Count: math.MaxUint32}} {
		ops = append(ops, &logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: &logpb.ApplyPlan{Assign: []*logpb.Assign{a}}}})
	}
	for _, c := range []*logpb.Cancel{{Job: 1}, {Job: 1, Reason: 9}, {Job: 1, Reason: 256 + 7}, {Job: 1, Reason: 7, Index: proto.Uint32(math.MaxUint32)}} {
		ops = append(ops, &logpb.Op{Op: &logpb.Op_Cancel{Cancel: c}})
	}
	server := func(edit func(*logpb.ServerRecord)) *logpb.Op {
		s := &logpb.ServerRecord{NodeId: "n1", ServerId: "a", Addr: "h:1", PeerAddr: "h:2"}
		edit(s)
		return &logpb.Op{Op: &logpb.Op_PutServer{PutServer: &logpb.PutServer{Server: s}}}
	}
	// Access tokens are of a version that is not active.
	ops = append(ops, createOp("s", nil), createOp("s", func(a *logpb.AccessToken) { a.Hash = nil }), revokeOp("s"),
		&logpb.Op{Op: &logpb.Op_CreateAccessToken{CreateAccessToken: &logpb.CreateAccessToken{}}},
		&logpb.Op{Op: &logpb.Op_RevokeAccessToken{RevokeAccessToken: &logpb.RevokeAccessToken{}}})
	return append(ops,
		&logpb.Op{Op: &logpb.Op_PutServer{PutServer: &logpb.PutServer{}}},
		server(func(s *logpb.ServerRecord) { s.NodeId = "a/b" }), server(func(s *logpb.ServerRecord) { s.NodeId = string(make([]byte, 1<<16)) }),
		server(func(s *logpb.ServerRecord) { s.ServerId = "" }), server(func(s *logpb.ServerRecord) { s.Addr = string(make([]byte, 1<<16)) }),
		server(func(s *logpb.ServerRecord) { s.PeerAddr = "h\n:1" }), server(func(s *logpb.ServerRecord) { s.HttpAddr = "h\x7f" }),
		server(func(s *logpb.ServerRecord) { s.Version = "\x1b[2J" }),
		&logpb.Op{Op: &logpb.Op_DeleteServer{DeleteServer: &logpb.DeleteServer{NodeId: "n1", ServerId: "a"}}},
		&logpb.Op{Op: &logpb.Op_RemoveServer{RemoveServer: &logpb.RemoveServer{NodeId: "n1", ServerId: "a"}}}, // of a version that is not active
		&logpb.Op{Op: &logpb.Op_InitCluster{InitCluster: &logpb.InitCluster{}}},
		&logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: &logpb.AppendTasks{Job: 2, FirstIndex: 4}}},
		&logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: &logpb.AppendTasks{Job: 2, FirstIndex: 3, Tasks: &logpb.Tasks{Count: math.MaxUint32, Packed: []byte{0}}}}},
		&logpb.Op{Op: &logpb.Op_CloseTasks{CloseTasks: &logpb.CloseTasks{Job: 2, Total: math.MaxUint32}}},
		&logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: math.MaxUint64}}},
	)
}

// TestHostileOpsAreRefused: each has an error of its own, changes nothing, and does
// not keep its neighbours from being applied.
func TestHostileOpsAreRefused(t *testing.T) {
	t.Parallel()
	for _, op := range hostileOps() {
		m := lived(t)
		_, before := m.Digest()
		index, _, clock := m.Applied()
		data, err := fsm.EncodeEntry(fsm.GateVersion, clock, []*logpb.Op{op, {Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: 2, Reason: 7}}}})
		require.NoError(t, err)
		results, err := m.Apply(index+1, 1, data)
		require.NoError(t, err)
		require.Error(t, results[0].Err, "%v", op)
		require.Contains(t, []task.Kind{task.KindInvalid, task.KindTooLarge, task.KindNotFound, task.KindConflict, task.KindUnsupported}, task.KindOf(results[0].Err))
		require.NoError(t, results[1].Err)
		other := lived(t)
		_, same := other.Digest()
		require.Equal(t, before, same)
		data, err = fsm.EncodeEntry(fsm.GateVersion, clock, []*logpb.Op{{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: 2, Reason: 7}}}})
		require.NoError(t, err)
		_, err = other.Apply(index+1, 1, data)
		require.NoError(t, err)
		_, want := other.Digest()
		_, got := m.Digest()
		require.Equal(t, want, got, "%v changed something", op)
		require.Empty(t, m.CheckInvariants())
	}
}

// FuzzDecodeEntry: whatever is in the log, decoding does not panic; what decodes can be
// applied, leaves a sound state, and gives the same on another machine, whose maps are in
// another order.
func FuzzDecodeEntry(f *testing.F) {
	for _, op := range hostileOps() {
		data, err := fsm.EncodeEntry(fsm.GateVersion, 1e18, []*logpb.Op{op})
		require.NoError(f, err)
		f.Add(data)
	}
	// With the version that has them, they are applied, or are refused for what they ask.
	for _, op := range []*logpb.Op{createOp("s", nil), createOp("s", func(a *logpb.AccessToken) { a.TtlNs = math.MaxInt64 }), createOp("s", func(a *logpb.AccessToken) { a.Hash = nil })} {
		data, err := proto.Marshal(&logpb.Entry{Version: fsm.Version, ClockNs: 1e18, Ops: []*logpb.Op{riseOp(fsm.Version), op, revokeOp("s")}})
		require.NoError(f, err)
		f.Add(data)
	}
	for _, clock := range []int64{0, -1, math.MaxInt64} {
		data, err := fsm.EncodeEntry(fsm.GateVersion, clock, []*logpb.Op{cancelOp(1, 400), {Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: []uint64{1, 2, 3}}}}})
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := fsm.DecodeEntry(data); err != nil {
			return
		}
		m, other := lived(t), lived(t)
		for range 2 {
			index, _, _ := m.Applied()
			_, before := m.Digest()
			results, err := m.Apply(index+1, 1, data)
			if errors.Is(err, fsm.ErrTooOld) {
				at, digest := m.Digest()
				require.Equal(t, index, at)
				require.Equal(t, before, digest)
				return
			}
			require.NoError(t, err)
			same, err := other.Apply(index+1, 1, data)
			require.NoError(t, err)
			require.Equal(t, results, same)
			_, digest := m.Digest()
			_, otherDigest := other.Digest()
			require.Equal(t, digest, otherDigest)
			m.AdvanceAndView(math.MaxInt64, 0, roomy)
			require.Empty(t, m.CheckInvariants())
			if c := m.TakeBatch(); c != nil {
				for i := range c.Jobs {
					_, err := proto.Marshal(c.Jobs[i].Record)
					require.NoError(t, err)
				}
			}
		}
	})
}
