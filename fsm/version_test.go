package fsm_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// applyAs applies an entry of a version.
func (b *testBundle) applyAs(version uint32, op *logpb.Op) {
	b.t.Helper()
	data, err := proto.Marshal(&logpb.Entry{Version: version, ClockNs: b.clock, Ops: []*logpb.Op{op}})
	require.NoError(b.t, err)
	b.index++
	results, err := b.m.Apply(b.index, 1, data)
	require.NoError(b.t, err)
	require.NoError(b.t, results[0].Err)
}

// digestOfVersion1 is what a build that knew version 1 only makes of the entries below.
const digestOfVersion1 = 0x104e7237e7b06628

// Servers of an older build have applied such entries to different places when they are replaced. What this
// build makes of the rest must be the same as what they made of it.
func TestEntriesOfVersion1MeanWhatTheyMeant(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const old = 1
	b.applyAs(old, &logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Session: &logpb.Session{
		Worker: "w", Nonce: []byte("w"), Slots: 9, Handlers: []string{"h"},
	}}}})
	b.applyAs(old, submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: &logpb.Tasks{Count: 9}}))
	b.applyAs(old, planOp(1, 0, 9, 1))
	for first, outcome := range []task.Outcome{task.OutcomeFailed, task.OutcomeStopped, task.OutcomeLost, task.OutcomeReturned, task.OutcomeSucceeded} {
		b.applyAs(old, reportOp(1, uint32(first), 1, 0, outcome))
	}
	b.applyAs(old, &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: 1}}})
	_, digest := b.m.Digest()
	require.Equal(t, uint64(digestOfVersion1), digest)
}
