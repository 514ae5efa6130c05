package fsm

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

func TestWhatListsLeaveOutHasTheseNumbers(t *testing.T) {
	t.Parallel()
	number := func(m proto.Message, name protoreflect.Name) protowire.Number {
		f := m.ProtoReflect().Descriptor().Fields().ByName(name)
		require.NotNil(t, f, name)
		return f.Number()
	}
	spec, rec := &logpb.Spec{}, &logpb.JobRecord{}
	require.Equal(t, omitted{number(spec, "shared_payload"): nil, number(spec, "retried"): nil}, unlistedOfSpec)
	require.Equal(t, omitted{
		number(rec, "spec"): unlistedOfSpec, number(rec, "appends"): nil, number(rec, "inline_tasks"): nil, number(rec, "inline_segments"): nil,
	}, unlistedOfRecord)
}

// TestAListedRecordIsTheRecordWithoutWhatIsLarge, whether it comes from the disk or from memory.
func TestAListedRecordIsTheRecordWithoutWhatIsLarge(t *testing.T) {
	t.Parallel()
	spec := task.Spec{Name: "n", Handler: "h", Queue: "q", SharedPayload: make([]byte, task.MaxPayload), Meta: []task.Pair{{Key: "k", Value: "v"}}}
	raw, err := EncodeSpec(&spec)
	require.NoError(t, err)
	rec := &logpb.JobRecord{
		Id: 7, Spec: raw, Key: "k", Total: 3, Counts: make([]uint32, task.NumStates), OwnPayloads: true, Sum: 5,
		Appends:        []*logpb.AppendMark{{First: 1, Count: 2}},
		InlineTasks:    &logpb.Tasks{Count: 3, Packed: []byte("abc")},
		InlineSegments: []*logpb.Segment{{Error: "e"}},
	}
	stored, err := proto.Marshal(rec)
	require.NoError(t, err)

	got, err := DecodeListed(stored)
	require.NoError(t, err)
	spec.SharedPayload = nil
	raw, err = EncodeSpec(&spec)
	require.NoError(t, err)
	want := proto.CloneOf(rec)
	want.Spec, want.Appends, want.InlineTasks, want.InlineSegments = raw, nil, nil, nil
	require.True(t, proto.Equal(want, got), "%v", got)

	got, err = Listed(rec)
	require.NoError(t, err)
	require.True(t, proto.Equal(want, got), "%v", got)

	for _, cut := range []int{1, 100, len(stored) - 1} {
		_, err := DecodeListed(stored[:cut])
		require.Error(t, err, "cut at %d", cut)
	}
}
