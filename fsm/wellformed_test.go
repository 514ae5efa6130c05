package fsm_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
)

func TestCheckEntryTakesWhatIsWellFormed(t *testing.T) {
	t.Parallel()
	eachMessage(t, func(protoreflect.Message) {}, func(path string, e *logpb.Entry) {
		data, err := proto.Marshal(e)
		require.NoError(t, err)
		require.NoError(t, fsm.CheckEntry(data), path)
		for cut := range data {
			_, err := fsm.DecodeEntry(data[:cut])
			require.Equal(t, errors.Is(err, fsm.ErrMalformed), fsm.CheckEntry(data[:cut]) != nil, "%s: %d of %d bytes", path, cut, len(data))
		}
	})
	// Apply, not CheckEntry, stops at what a newer build writes.
	data, err := proto.Marshal(&logpb.Entry{Version: fsm.Version + 1})
	require.NoError(t, err)
	require.NoError(t, fsm.CheckEntry(data))
	for _, garbage := range []string{"", "\xff", "GET / HTTP/1.1", "\x08\x00"} {
		require.ErrorIs(t, fsm.CheckEntry([]byte(garbage)), fsm.ErrMalformed, garbage)
	}
}

// FuzzCheckEntry: what CheckEntry refuses is what DecodeEntry calls malformed, and nothing else.
func FuzzCheckEntry(f *testing.F) {
	for _, op := range hostileOps() {
		data, err := fsm.EncodeEntry(fsm.GateVersion, 1e18, []*logpb.Op{op})
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := fsm.DecodeEntry(data)
		require.Equal(t, errors.Is(err, fsm.ErrMalformed), fsm.CheckEntry(data) != nil, "%v", err)
	})
}

func BenchmarkCheckEntry(b *testing.B) {
	var ops []*logpb.Op
	for range 100 {
		ops = append(ops, &logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{
			Spec: make([]byte, 100), Tasks: &logpb.Tasks{Count: 1}, Key: "0123456789abcdef", Hash: make([]byte, 32),
		}}})
	}
	data, err := fsm.EncodeEntry(fsm.GateVersion, 1e18, ops)
	require.NoError(b, err)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := fsm.CheckEntry(data); err != nil {
			b.Fatal(err)
		}
	}
}
