package raftnet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// noted is what a framing has seen on a connection.
type noted struct {
	ids   []string
	terms []uint64
}

func newFraming(answers bool) (*framing, *noted) {
	n := &noted{}
	return &framing{answers: answers, seen: fieldSeen{
		id:   func(id []byte) error { n.ids = append(n.ids, string(id)); return nil },
		term: func(term uint64) error { n.terms = append(n.terms, term); return nil },
	}}, n
}

// encode encodes a value as raft's transport does.
func encode(t testing.TB, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, codec.NewEncoder(&b, &codec.MsgpackHandle{}).Encode(v))
	return b.Bytes()
}

// headerOf is the header of a message of a server.
func headerOf(id raft.ServerID) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(id), Addr: []byte("a:1")}
}

// messagesOf is a message of each kind, of one server.
func messagesOf(t testing.TB, id raft.ServerID, term uint64) (out [][]byte) {
	t.Helper()
	h := headerOf(id)
	entries := []*raft.Log{
		{Index: 1 << 40, Term: term, Data: make([]byte, 300<<10), AppendedAt: time.Now()},
		{Index: 2, Type: raft.LogNoop, Extensions: []byte("x")},
	}
	for len(entries) < MaxAppendEntries {
		entries = append(entries, &raft.Log{Data: make([]byte, len(entries)*10)})
	}
	for kind, m := range map[byte]any{
		kindAppendEntries:   &raft.AppendEntriesRequest{RPCHeader: h, Term: term, Entries: entries, LeaderCommitIndex: math.MaxUint64},
		kindRequestVote:     &raft.RequestVoteRequest{RPCHeader: h, Term: term, LastLogIndex: 70_000, LeadershipTransfer: true},
		kindTimeoutNow:      &raft.TimeoutNowRequest{RPCHeader: h},
		kindRequestPreVote:  &raft.RequestPreVoteRequest{RPCHeader: h, Term: term},
		kindInstallSnapshot: &raft.InstallSnapshotRequest{RPCHeader: h, Term: term, Size: 5, Configuration: make([]byte, 1000)},
	} {
		b := append([]byte{kind}, encode(t, m)...)
		if kind == kindInstallSnapshot {
			b = append(b, 0xdd, 0xff, 0xff, 0xff, 0xff) // the state, which is not checked here
		}
		out = append(out, b)
	}
	return append(out, append([]byte{kindAppendEntries}, encode(t, &raft.AppendEntriesRequest{RPCHeader: h, Term: term})...))
}

func TestMessagesAreFollowedHoweverTheyArrive(t *testing.T) {
	t.Parallel()
	messages := messagesOf(t, "n1/a", 7)
	stream := bytes.Join(messages, nil)
	for _, piece := range []int{1, 2, 3, 100, 1 << 20} {
		f, seen := newFraming(false)
		require.True(t, f.between())
		for at := 0; at < len(stream); at += piece {
			require.NoError(t, f.feed(stream[at:min(at+piece, len(stream))]), "pieces of %d bytes", piece)
		}
		require.True(t, f.between())
		require.EqualValues(t, len(messages), f.begun)
		require.Len(t, seen.ids, len(messages))
		for _, id := range seen.ids {
			require.Equal(t, "n1/a", id)
		}
		require.Equal(t, []uint64{7, 7, 7, 7, 7}, seen.terms, "a transfer has none, and those of entries are not the message's")
	}
}

func TestAnswersAreFollowed(t *testing.T) {
	t.Parallel()
	f, seen := newFraming(true)
	for _, v := range []any{
		"", &raft.AppendEntriesResponse{RPCHeader: headerOf("n2/b"), Term: 8, LastLog: 9, Success: true},
		"it is refused", nil,
		"", &raft.RequestVoteResponse{Term: 9, Peers: []byte("[]")},
		"", &raft.InstallSnapshotResponse{Term: 10}, "", &raft.TimeoutNowResponse{}, "", &raft.RequestPreVoteResponse{Term: 11},
	} {
		require.NoError(t, f.feed(encode(t, v)))
		require.True(t, f.between())
	}
	require.Equal(t, []uint64{8, 9, 10, 11}, seen.terms)
	require.Error(t, f.feed(encode(t, string(make([]byte, maxControlMessage)))))
}

// A message that is too large is refused at the length that says so. The decoder never sees that length.
func TestALengthIsRefusedBeforeItIsDecoded(t *testing.T) {
	t.Parallel()
	field := func(name string) []byte { return append([]byte{0xa0 | byte(len(name))}, name...) }
	fields := func(kind, count byte, parts ...[]byte) []byte {
		return append([]byte{kind, 0x80 | count}, bytes.Join(parts, nil)...)
	}
	length := func(code byte, n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{code}, n) }
	data := func(n uint32) []byte {
		return fields(kindAppendEntries, 1, field("Entries"), []byte{0x91, 0x81}, field("Data"), length(0xc6, n))
	}
	deep := fields(kindAppendEntries, 1, field("Entries"), bytes.Repeat([]byte{0x91}, maxNesting))
	for name, message := range map[string][]byte{
		"an entry":                data(math.MaxUint32),
		"an entry by a byte":      data(maxEntriesMessage - 20),
		"entries":                 fields(kindAppendEntries, 1, field("Entries"), length(0xdd, math.MaxUint32)),
		"one entry too many":      fields(kindAppendEntries, 1, field("Entries"), []byte{0xdc, 0, MaxAppendEntries + 1}),
		"an unknown field":        fields(kindAppendEntries, 1, field("Other"), length(0xdb, math.MaxUint32)),
		"an extension":            fields(kindAppendEntries, 1, field("Other"), length(0xc9, math.MaxUint32)),
		"a vote":                  fields(kindRequestVote, 1, field("Candidate"), length(0xc6, maxControlMessage)),
		"a configuration":         fields(kindInstallSnapshot, 1, field("Configuration"), length(0xc6, maxControlMessage)),
		"an id":                   fields(kindRequestVote, 1, field("ID"), []byte{0xc5, 4, 1}),
		"a name of a field":       fields(kindRequestVote, 1, []byte{0xd9, maxField + 1}),
		"fields":                  append([]byte{kindTimeoutNow}, length(0xdf, 1<<20)...),
		"values in each other":    deep,
		"a message without names": {kindAppendEntries, 0x93},
		"a number":                {kindAppendEntries, 7},
		"nothing":                 {kindAppendEntries, 0xc0},
		"an unknown kind":         {9},
		"a byte that is no value": {kindAppendEntries, 0xc1},
		"a field of no name":      fields(kindRequestVote, 1, []byte{7}),
		"a field named by a list": fields(kindRequestVote, 1, []byte{0x91}),
		"an id of several":        fields(kindRequestVote, 1, field("ID"), []byte{0x91}),
		"an id of another kind":   fields(kindRequestVote, 1, field("ID"), []byte{0xd4}),
		"a term below zero":       fields(kindRequestVote, 1, field("Term"), []byte{0xff}),
		"a term as a fraction":    fields(kindRequestVote, 1, field("Term"), []byte{0xcb, 0, 0, 0, 0, 0, 0, 0, 0}),
		"a size below zero":       fields(kindInstallSnapshot, 1, field("Size"), []byte{0xd3, 0xff, 0, 0, 0, 0, 0, 0, 0}),
		"a size beyond all":       fields(kindInstallSnapshot, 1, field("Size"), []byte{0xcf, 0xff, 0, 0, 0, 0, 0, 0, 0}),
	} {
		f, _ := newFraming(false)
		require.Error(t, f.feed(message), name)
		f, _ = newFraming(false)
		require.NoError(t, f.feed(message[:len(message)-1]), "%s: before its last byte", name)
	}
	// Small pieces add up to no more than one large one.
	f, _ := newFraming(false)
	require.NoError(t, f.feed(append([]byte{kindRequestVote, 0x8f}, field("Other")...)))
	var err error
	fed := 0
	for piece := append(append([]byte{0xc5, 0x20, 0}, make([]byte, 8<<10)...), field("Other")...); err == nil && fed < 2*maxControlMessage; fed += len(piece) {
		err = f.feed(piece)
	}
	require.Error(t, err)
	require.Less(t, fed, maxControlMessage+10<<10)
}

// The framing and the decoder behind it must agree on who sends a message, and in which term. Otherwise the framing
// would let pass what the decoder reads as something else.
func FuzzFramingAgreesWithTheDecoder(f *testing.F) {
	for _, m := range messagesOf(f, "n1/a", 7) {
		if len(m) < 1<<10 && m[0] == kindRequestVote {
			f.Add(m[1:])
		}
	}
	f.Add([]byte{0x82, 0xa2, 'I', 'D', 0xa1, 'x', 0xa2, 'I', 'D', 0xa1, 'y'})
	f.Add([]byte{0x82, 0xa4, 'T', 'e', 'r', 'm', 0xd1, 0, 7, 0xa4, 'T', 'e', 'r', 'm', 0xc0})
	f.Fuzz(func(t *testing.T, body []byte) {
		whole, seen := newFraming(false)
		err := whole.feed(append([]byte{kindRequestVote}, body...))
		pieces, again := newFraming(false)
		var errAgain error
		for _, b := range append([]byte{kindRequestVote}, body...) {
			if errAgain = pieces.feed([]byte{b}); errAgain != nil {
				break
			}
		}
		require.Equal(t, fmt.Sprint(err), fmt.Sprint(errAgain))
		require.Equal(t, seen, again)
		if err != nil || whole.inside || whole.begun != 1 {
			return
		}
		var r raft.RequestVoteRequest
		if codec.NewDecoderBytes(body, &codec.MsgpackHandle{}).Decode(&r) != nil {
			return
		}
		if len(r.ID) > 0 {
			require.Contains(t, seen.ids, string(r.ID))
		}
		if r.Term != 0 {
			require.Contains(t, seen.terms, r.Term)
		}
	})
}

// BenchmarkFraming follows the messages that a follower is sent, one after the other.
func BenchmarkFraming(b *testing.B) {
	messages := messagesOf(b, "n1", 7)
	f := &framing{seen: fieldSeen{id: func([]byte) error { return nil }, term: func(uint64) error { return nil }}}
	b.ReportAllocs()
	for b.Loop() {
		for _, m := range messages {
			require.NoError(b, f.feed(m))
		}
	}
}
