package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// TestWhatAServerMakesAWorkerKeepIsBounded, and a server that speaks of what it has not sent is not
// believed: its tasks would run with the payload of others.
func TestWhatAServerMakesAWorkerKeepIsBounded(t *testing.T) {
	t.Parallel()
	var w keptWorks
	given := func(n uint32, size int) *rotav1.Assignment {
		return &rotav1.Assignment{WorkNumber: n, Work: &rotav1.WorkSpec{SharedPayload: make([]byte, size)}}
	}
	first := given(1, 10)
	got, err := w.of(first)
	require.NoError(t, err)
	require.Same(t, first.Work, got)
	got, err = w.of(&rotav1.Assignment{WorkNumber: 1})
	require.NoError(t, err)
	require.Same(t, first.Work, got)
	for range 100 { // in its own place it counts once
		_, err = w.of(given(workSlots, workBytes/2))
		require.NoError(t, err)
	}
	for _, a := range []*rotav1.Assignment{given(workSlots+1, 1), {WorkNumber: 2}, {WorkNumber: workSlots + 1}, given(2, workBytes/2+1)} {
		_, err = w.of(a)
		require.ErrorIs(t, err, errProtocol)
	}
	require.NoError(t, w.forget([]uint32{1, 2, workSlots, workSlots}))
	require.Zero(t, w.size)
	_, err = w.of(&rotav1.Assignment{WorkNumber: 1})
	require.ErrorIs(t, err, errProtocol)
	require.ErrorIs(t, w.forget([]uint32{0}), errProtocol)
	require.ErrorIs(t, w.forget([]uint32{workSlots + 1}), errProtocol)
}

// TestAWorkThatIsNotUnderstoodIsRefused: a newer server may ask for something that this worker would do otherwise.
func TestAWorkThatIsNotUnderstoodIsRefused(t *testing.T) {
	t.Parallel()
	a := commandWork(1, "true")
	_, err := assignmentOf(a, a.GetWork())
	require.NoError(t, err)
	a.Work.GetCommand().Stdout = 99
	_, err = assignmentOf(a, a.GetWork())
	require.ErrorIs(t, err, task.ErrInvalid)
	for name, within := range map[string]func(w *rotav1.WorkSpec) proto.Message{
		"the work":    func(w *rotav1.WorkSpec) proto.Message { return w },
		"the command": func(w *rotav1.WorkSpec) proto.Message { return w.GetCommand() },
		"the timeout": func(w *rotav1.WorkSpec) proto.Message { return w.GetTimeout() },
	} {
		a := commandWork(1, "true")
		a.Work.Timeout = durationpb.New(time.Minute)
		_, err := assignmentOf(a, a.GetWork())
		require.NoError(t, err)
		within(a.Work).ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 900, protowire.VarintType), 1))
		_, err = assignmentOf(a, a.GetWork())
		require.ErrorContains(t, err, "upgrade this worker", name)
	}
}
