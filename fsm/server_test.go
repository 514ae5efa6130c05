package fsm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

func serverOf(node, id string) *logpb.ServerRecord {
	return &logpb.ServerRecord{NodeId: node, ServerId: id, Addr: node + ":1", PeerAddr: node + ":2"}
}

func putServerOp(s *logpb.ServerRecord) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_PutServer{PutServer: &logpb.PutServer{Server: s}}}
}

func deleteServerOp(node, id string) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_DeleteServer{DeleteServer: &logpb.DeleteServer{NodeId: node, ServerId: id}}}
}

// named is the servers as "node/id".
func named(servers []*logpb.ServerRecord) (out []string) {
	for _, s := range servers {
		out = append(out, s.NodeId+"/"+s.ServerId)
	}
	return out
}

func TestServersAreKeptInOrder(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for _, node := range []string{"n2", "n3", "n1"} {
		require.False(t, b.must(putServerOp(serverOf(node, "a"))).Existed)
	}
	require.Equal(t, []string{"n1/a", "n2/a", "n3/a"}, named(b.m.Servers()))
	require.EqualValues(t, 3, b.m.ServerChanges())
}

// A server with a new data folder takes the place of the one that had its node id.
func TestOneServerHasANodeID(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.must(putServerOp(serverOf("n1", "a")))
	_, before := b.m.Digest()
	require.True(t, b.must(putServerOp(serverOf("n1", "a"))).Existed)
	_, behind := b.m.Digest()
	require.Equal(t, before, behind)
	require.EqualValues(t, 1, b.m.ServerChanges(), "nothing has changed")
	read := b.m.Servers()
	require.False(t, b.must(putServerOp(serverOf("n1", "b"))).Existed)
	require.Equal(t, []string{"n1/b"}, named(b.m.Servers()))
	require.EqualValues(t, 2, b.m.ServerChanges())
	require.Equal(t, []string{"n1/a"}, named(read), "a list that was read before has changed")
}

func TestAServerIsForgotten(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.apply()
	_, none := b.m.Digest()
	b.must(putServerOp(serverOf("n1", "a")))
	b.must(putServerOp(serverOf("n2", "a")))
	b.refused(deleteServerOp("n1", "b"), task.ErrNotFound, "no server n1 with the id b") // another one has taken its place
	b.refused(deleteServerOp("n3", "a"), task.ErrNotFound, "no server n3")
	read := b.m.Servers()
	b.must(deleteServerOp("n1", "a"))
	require.Equal(t, []string{"n2/a"}, named(b.m.Servers()))
	require.Equal(t, []string{"n1/a", "n2/a"}, named(read), "a list that was read before has changed")
	b.must(deleteServerOp("n2", "a"))
	require.Empty(t, b.m.Servers())
	require.EqualValues(t, 4, b.m.ServerChanges())
	_, digest := b.m.Digest()
	require.Equal(t, none, digest, "a state without servers looks as before there were any")
}

// badServer is a record that is not well-formed, and what the error about it says.
type badServer struct {
	record *logpb.ServerRecord
	want   error
	says   string
}

func badServers() map[string]badServer {
	with := func(change func(*logpb.ServerRecord)) *logpb.ServerRecord {
		s := serverOf("n9", "a")
		change(s)
		return s
	}
	long := strings.Repeat("a", task.MaxAddr+1)
	return map[string]badServer{
		"no server":       {nil, task.ErrInvalid, "a record of no server"},
		"no node id":      {with(func(s *logpb.ServerRecord) { s.NodeId = "" }), task.ErrInvalid, "node id"},
		"a slash":         {with(func(s *logpb.ServerRecord) { s.NodeId = "a/b" }), task.ErrInvalid, "node id"},
		"no server id":    {with(func(s *logpb.ServerRecord) { s.ServerId = "" }), task.ErrInvalid, "server id"},
		"no address":      {with(func(s *logpb.ServerRecord) { s.Addr = "" }), task.ErrInvalid, "gRPC address"},
		"a long address":  {with(func(s *logpb.ServerRecord) { s.Addr = long }), task.ErrTooLarge, "gRPC address"},
		"no Raft address": {with(func(s *logpb.ServerRecord) { s.PeerAddr = "" }), task.ErrInvalid, "Raft address"},
		"a long HTTP one": {with(func(s *logpb.ServerRecord) { s.HttpAddr = long }), task.ErrTooLarge, "HTTP address"},
		"a bad version":   {with(func(s *logpb.ServerRecord) { s.Version = "v\n" }), task.ErrInvalid, "version"},
	}
}

func TestAServerThatCannotBeRecordedIsRefused(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for name, c := range badServers() {
		t.Log(name)
		b.refused(putServerOp(c.record), c.want, c.says)
	}
	for i := range task.MaxServers {
		b.must(putServerOp(serverOf(fmt.Sprint("n", i), "a")))
	}
	b.refused(putServerOp(serverOf("more", "a")), task.ErrExhausted, "the limit")
	b.must(putServerOp(serverOf("n3", "b")))
	require.Len(t, b.m.Servers(), task.MaxServers)
	require.EqualValues(t, task.MaxServers+1, b.m.ServerChanges())
}

// Two states that differ in one fact about a server differ in their digests.
func TestEachFactAboutAServerIsInTheDigest(t *testing.T) {
	t.Parallel()
	seen := map[uint64]string{}
	note := func(name string, s *logpb.ServerRecord) {
		b := newBundle(t)
		b.must(putServerOp(s))
		_, digest := b.m.Digest()
		require.Empty(t, seen[digest], "%s looks like %s", name, seen[digest])
		seen[digest] = name
	}
	note("none changed", serverOf("n1", "a"))
	fields := (&logpb.ServerRecord{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f, s := fields.Get(i), serverOf("n1", "a").ProtoReflect()
		if f.Kind() == protoreflect.BoolKind {
			s.Set(f, protoreflect.ValueOfBool(true))
		} else {
			s.Set(f, protoreflect.ValueOfString(s.Get(f).String()+"x"))
		}
		note(string(f.Name()), s.Interface().(*logpb.ServerRecord))
	}
}

// Servers that are read back are checked like servers that are recorded.
func TestServersThatCannotBeAreNotLoaded(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.must(putServerOp(serverOf("n1", "a")))
	b.must(putServerOp(serverOf("n2", "a")))
	meta := b.m.TakeBatch().Meta
	load := func(servers []*logpb.ServerRecord) (*fsm.Machine, error) {
		changed := proto.CloneOf(meta)
		changed.Servers = servers
		m := fsm.New(nothing{}, nil)
		return m, m.Load(changed, nil, nil, func(func(*fsm.SavedJob) error) error { return nil })
	}
	m, err := load(meta.Servers)
	require.NoError(t, err)
	require.Equal(t, []string{"n1/a", "n2/a"}, named(m.Servers()))

	for name, c := range badServers() {
		_, err := load([]*logpb.ServerRecord{c.record})
		require.ErrorIs(t, err, c.want, name)
	}
	n1, n2 := serverOf("n1", "a"), serverOf("n2", "a")
	var many []*logpb.ServerRecord
	for i := range task.MaxServers + 1 {
		many = append(many, serverOf(fmt.Sprintf("n%02d", i), "a"))
	}
	for says, servers := range map[string][]*logpb.ServerRecord{
		"server n1 is out of order": {n2, n1}, "server n2 is out of order": {n1, n2, n2}, "the limit is": many, "the state has digest": {n1},
	} {
		_, err := load(servers)
		require.ErrorContains(t, err, says)
	}
}
