package fsm_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
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

// fullSpec is a spec with no field left out. It is not valid: it has a handler and a command.
func fullSpec() *task.Spec {
	pairs := []task.Pair{{Key: "a", Value: "1"}, {Key: "b", Value: ""}}
	return &task.Spec{
		Name: "n", Queue: "q", Handler: "h", Command: []string{"c", "", "d"}, Env: pairs, Cwd: "/", Placeholder: "{}", Policy: task.Random, Serial: true,
		MaxParallel: 3, Priority: -7, MaxAttempts: 9, Timeout: time.Second, Delay: time.Minute, NotBefore: 5, Expire: time.Hour,
		Require: pairs, Meta: pairs, Retention: time.Hour, Values: []task.ValueRun{{First: 1, Step: 2, Count: 3}}, Retried: []task.Range{{First: 4, Count: 3}}, SharedPayload: []byte("payload"),
		Stdout: task.StdoutFile, StdoutPath: "/out",
	}
}

func TestASpecIsDecodedAsItWasEncoded(t *testing.T) {
	t.Parallel()
	fields := reflect.ValueOf(fullSpec()).Elem()
	for field, value := range fields.Fields() {
		require.False(t, value.IsZero(), "set %s in fullSpec: only then does this test notice that it gets lost", field.Name)
	}
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

// The encoding of fullSpec. Logs and state files have such bytes in them, so they must not change.
const fullSpecHex = "0a016e1201711a016822016322002201642a060a01611201312a030a016232012f3a027b7d400248015003580d6009688094ebdc037080b09dc2df017805800180c0e285e3688a01060a01611201318a01030a01629201060a01611201319201030a0162980180c0e285e368a20106080110021803aa01077061796c6f6164b00103ba01042f6f7574f2010408041003"

func TestTheEncodingOfSpecsNeverChanges(t *testing.T) {
	t.Parallel()
	raw, err := fsm.EncodeSpec(fullSpec())
	require.NoError(t, err)
	require.Equal(t, fullSpecHex, hex.EncodeToString(raw))
}

func BenchmarkEncodeSpec(b *testing.B) {
	for name, s := range benchmarkSpecs() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := fsm.EncodeSpec(s)
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkDecodeSpec(b *testing.B) {
	for name, s := range benchmarkSpecs() {
		raw, err := fsm.EncodeSpec(s)
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := fsm.DecodeSpec(raw)
				require.NoError(b, err)
			}
		})
	}
}

func benchmarkSpecs() map[string]*task.Spec {
	full := fullSpec()
	full.Handler = ""
	return map[string]*task.Spec{"handler": {Handler: "h", Queue: "q"}, "command": full}
}

// FuzzDecodeSpec: DecodeSpec takes the payload out of the encoding before it decodes the rest, wherever the payload
// stands. The result must be the same as without that.
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

// hasUnknown reports whether a message has unknown fields, at any depth.
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
