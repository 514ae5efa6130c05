package fsm_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

func fullSpec() *task.Spec {
	pairs := []task.Pair{{Key: "a", Value: "1"}, {Key: "b", Value: ""}}
	return &task.Spec{
		Name: "n", Queue: "q", Command: []string{"c", "", "d"}, Env: pairs, Cwd: "/", Placeholder: "{}", Policy: task.Random, Serial: true,
		MaxParallel: 3, Priority: -7, MaxAttempts: 9, Timeout: time.Second, Delay: time.Minute, NotBefore: 5, Expire: time.Hour,
		Require: pairs, Meta: pairs, Retention: time.Hour, Values: []task.ValueRun{{First: 1, Step: 2, Count: 3}}, Retried: []task.Range{{First: 4, Count: 3}}, SharedPayload: []byte("payload"),
		Stdout: task.StdoutFile, StdoutPath: "/out",
	}
}

func TestASpecIsDecodedAsItWasEncoded(t *testing.T) {
	t.Parallel()
	raw, err := fsm.EncodeSpec(fullSpec())
	require.NoError(t, err)
	got, err := fsm.DecodeSpec(raw)
	require.NoError(t, err)
	require.Equal(t, fullSpec(), got)
	head, err := fsm.DecodeSpecHead(raw)
	require.NoError(t, err)
	require.Nil(t, head.SharedPayload)
	head.SharedPayload = got.SharedPayload
	require.Equal(t, got, head)
}

// FuzzDecodeSpec: the payload is taken out of the encoding before it is decoded, wherever it
// stands; what comes out is what would have come without that.
func FuzzDecodeSpec(f *testing.F) {
	raw, err := fsm.EncodeSpec(fullSpec())
	require.NoError(f, err)
	payload := protowire.AppendBytes(protowire.AppendTag(nil, 21, protowire.BytesType), []byte("first"))
	f.Add(raw)
	f.Add(append(bytes.Clone(payload), raw...))
	f.Add(bytes.Join([][]byte{raw, payload, raw[:10]}, nil))
	f.Add(protowire.AppendVarint(protowire.AppendTag(raw, 21, protowire.VarintType), 7))
	f.Add(raw[:len(raw)-3])
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want logpb.Spec
		wantErr := proto.Unmarshal(raw, &want)
		got, err := fsm.DecodeSpec(raw)
		if errors.Is(err, fsm.ErrTooOld) {
			require.True(t, hasUnknown(want.ProtoReflect()), "%v", &want)
			return
		}
		require.Equal(t, wantErr == nil, err == nil, "%v, %v", wantErr, err)
		if err != nil {
			return
		}
		require.Equal(t, string(want.SharedPayload), string(got.SharedPayload))
		// As EncodeSpec would have it: in order, with the payload last.
		canonical, err := proto.Marshal(&want)
		require.NoError(t, err)
		again, err := fsm.DecodeSpec(canonical)
		require.NoError(t, err)
		got.SharedPayload, again.SharedPayload = nil, nil
		require.Equal(t, again, got)
	})
}

// hasUnknown says whether a message has unknown fields, at any depth.
func hasUnknown(m protoreflect.Message) bool {
	unknown := len(m.GetUnknown()) > 0
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() != nil && f.IsList() {
			for i := range v.List().Len() {
				unknown = unknown || hasUnknown(v.List().Get(i).Message())
			}
		}
		return true
	})
	return unknown
}
