package fsm_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// unknownField is a field of a number that no message has.
var unknownField = protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 1)

// eachMessage calls f with entries. In each of them, spoil has changed one message: together they cover every kind
// of message at every place in an entry.
func eachMessage(t *testing.T, spoil func(protoreflect.Message), f func(path string, e *logpb.Entry)) {
	var visit func(path string, at func(e *logpb.Entry) protoreflect.Message, d protoreflect.MessageDescriptor)
	visit = func(path string, at func(e *logpb.Entry) protoreflect.Message, d protoreflect.MessageDescriptor) {
		e := &logpb.Entry{Version: fsm.Version, ClockNs: 1}
		spoil(at(e))
		f(path, e)
		for i := range d.Fields().Len() {
			field := d.Fields().Get(i)
			if field.Kind() != protoreflect.MessageKind {
				continue
			}
			visit(path+"."+string(field.Name()), func(e *logpb.Entry) protoreflect.Message {
				m := at(e)
				if field.IsList() {
					return m.Mutable(field).List().AppendMutable().Message()
				}
				return m.Mutable(field).Message()
			}, field.Message())
		}
	}
	root := (&logpb.Entry{}).ProtoReflect().Descriptor()
	require.NotZero(t, root.Fields().Len())
	visit("entry", func(e *logpb.Entry) protoreflect.Message { return e.ProtoReflect() }, root)
}

func TestDecodeEntryRefusesUnknownFieldsAtEveryDepth(t *testing.T) {
	t.Parallel()
	places := 0
	eachMessage(t, func(m protoreflect.Message) { m.SetUnknown(unknownField) }, func(path string, e *logpb.Entry) {
		places++
		data, err := proto.Marshal(e)
		require.NoError(t, err)
		_, err = fsm.DecodeEntry(data)
		require.ErrorIs(t, err, fsm.ErrTooOld, path)
		require.ErrorContains(t, err, "start the newer build again", path)
	})
	require.Greater(t, places, 20, "the entry's messages were not walked")
}

func TestDecodeEntryTakesEveryKnownMessage(t *testing.T) {
	t.Parallel()
	eachMessage(t, func(protoreflect.Message) {}, func(path string, e *logpb.Entry) {
		if path == "entry.ops" {
			return // an op without a body
		}
		data, err := proto.Marshal(e)
		require.NoError(t, err)
		_, err = fsm.DecodeEntry(data)
		require.NoError(t, err, path)
	})
}

func TestDecodeEntryRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]*logpb.Entry{
		"version 0":       {Version: 0},
		"a later version": {Version: fsm.Version + 1},
		"an empty op":     {Version: fsm.Version, Ops: []*logpb.Op{{}}},
	} {
		data, err := proto.Marshal(e)
		require.NoError(t, err)
		_, err = fsm.DecodeEntry(data)
		require.Error(t, err, name)
		_, err = fsm.New(nothing{}, nil).Apply(1, 1, data)
		require.Error(t, err, name)
	}
	_, err := fsm.DecodeEntry([]byte{0xff})
	require.ErrorContains(t, err, "malformed")
}

// nothing is the history of a machine that never forgot anything.
type nothing struct{}

func (nothing) Key(string, string) (*logpb.KeyRecord, bool)     { return nil, false }
func (nothing) Job(uint64) (*logpb.JobRecord, bool)             { return nil, false }
func (nothing) Append(uint64, uint32) (*logpb.AppendMark, bool) { return nil, false }
func (nothing) Tokens(_ uint64, tasks []task.Range, f func(task.Range, fsm.LastToken)) {
	for _, r := range tasks {
		f(r, fsm.LastToken{})
	}
}
