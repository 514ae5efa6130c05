package raftnet

import (
	"math"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

func TestEntriesThatNoLeaderSendsAreRefused(t *testing.T) {
	t.Parallel()
	spec, err := fsm.EncodeSpec(&task.Spec{Handler: "none"})
	require.NoError(t, err)
	submit := &logpb.Submit{Spec: spec, Tasks: &logpb.Tasks{Count: 1}, Key: "a", Hash: []byte("a")}
	good, err := fsm.EncodeEntry(fsm.GateVersion, 1, []*logpb.Op{{Op: &logpb.Op_Submit{Submit: submit}}})
	require.NoError(t, err)
	newer, err := proto.Marshal(&logpb.Entry{Version: fsm.Version + 1})
	require.NoError(t, err)
	members := raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: "n1/a", Address: "a:1"}}})
	message := func(entries ...*raft.Log) *raft.AppendEntriesRequest {
		return &raft.AppendEntriesRequest{Term: 7, PrevLogEntry: 3, PrevLogTerm: 5, Entries: entries}
	}
	command := func(index, term uint64, data []byte) *raft.Log {
		return &raft.Log{Index: index, Term: term, Data: data}
	}
	other := func(kind raft.LogType, data []byte) *raft.Log {
		return &raft.Log{Index: 4, Term: 7, Type: kind, Data: data}
	}
	for name, r := range map[string]*raft.AppendEntriesRequest{
		"none":            message(),
		"some":            message(command(4, 5, good), command(5, 7, good)),
		"a configuration": message(other(raft.LogConfiguration, members)),
		"a barrier":       message(other(raft.LogBarrier, nil)),
		"a newer build's": message(command(4, 7, newer)),
		"the first ones":  {Term: 1, Entries: []*raft.Log{command(1, 1, good)}},
	} {
		require.NoError(t, checkContent(r), name)
	}
	for name, r := range map[string]*raft.AppendEntriesRequest{
		"garbage":                    message(command(4, 7, []byte{0xff, 0xff})),
		"nothing":                    message(command(4, 7, nil)),
		"garbage behind a good one":  message(command(4, 7, good), command(5, 7, []byte("GET / HTTP/1.1"))),
		"a gap":                      message(command(5, 7, good)),
		"a gap behind a good one":    message(command(4, 7, good), command(6, 7, good)),
		"one index twice":            message(command(4, 7, good), command(4, 7, good)),
		"a later term":               message(command(4, 8, good)),
		"an earlier term":            message(command(4, 4, good)),
		"terms that go back":         message(command(4, 7, good), command(5, 6, good)),
		"an unknown type":            message(other(77, good)),
		"an old type":                message(other(raft.LogAddPeerDeprecated, good)),
		"no configuration":           message(other(raft.LogConfiguration, []byte{0xff})),
		"an empty configuration":     message(other(raft.LogConfiguration, raft.EncodeConfiguration(raft.Configuration{}))),
		"no entry":                   message(nil),
		"behind the end of the log":  {Term: 7, PrevLogEntry: math.MaxUint64, Entries: []*raft.Log{command(0, 7, good)}},
		"behind one of a later term": {Term: 7, PrevLogEntry: 3, PrevLogTerm: 8, Entries: []*raft.Log{command(4, 7, good)}},
	} {
		require.Error(t, checkContent(r), name)
	}
	require.Error(t, checkContent(&raft.InstallSnapshotRequest{Term: 7, SnapshotVersion: 1, Configuration: []byte{0xff}}))
	require.Error(t, checkContent(&raft.InstallSnapshotRequest{Term: 7, LastLogTerm: 8, SnapshotVersion: 1, Configuration: members}))
	require.NoError(t, checkContent(&raft.InstallSnapshotRequest{Term: 7, LastLogTerm: 7, SnapshotVersion: 1, Configuration: members}))
	require.Error(t, checkContent(&raft.RequestVoteRequest{Term: 7, LastLogTerm: 8}))
	require.Error(t, checkContent(&raft.RequestPreVoteRequest{Term: 7, LastLogTerm: 8}))
	require.NoError(t, checkContent(&raft.RequestVoteRequest{Term: 7, LastLogTerm: 7}))
}

// Raft panics on a configuration that it cannot decode, and would again at each start, because it has
// written the entry before that.
func TestRaftDoesNotSeeAConfigurationThatItCannotRead(t *testing.T) {
	t.Parallel()
	s := newLeader(t, raft.NewInmemStore())
	other := joinedBy(t, s, "n9/x")
	last := s.LastIndex()
	m := heartbeatOf(other, s.CurrentTerm()+1)
	m.PrevLogEntry, m.PrevLogTerm = last, s.CurrentTerm()
	m.Entries = []*raft.Log{{Index: last + 1, Term: m.Term, Type: raft.LogConfiguration, Data: []byte{0xff}}}
	require.ErrorContains(t, other.AppendEntries(s.id, s.at, m, &raft.AppendEntriesResponse{}), errEntries.Error())
	require.Equal(t, last, s.LastIndex())
}
