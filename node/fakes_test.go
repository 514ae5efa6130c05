package node

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/node/raftnet"
)

// Fakes of what a component under test uses of the rest of a server.

var silent = slog.New(slog.DiscardHandler)

// inMemory is a state without a file.
type inMemory struct{ machine *fsm.Machine }

func newInMemory() inMemory { return inMemory{fsm.New(nil, fsm.NewWatchers())} }

func (s inMemory) Machine() *fsm.Machine { return s.machine }
func (s inMemory) Flush() error          { return nil }

// checkpoint is an entry of a version of the log that changes little.
func checkpoint(t *testing.T, version uint32, index uint64) *raft.Log {
	t.Helper()
	data, err := fsm.EncodeEntry(version, int64(index), []*logpb.Op{{Op: &logpb.Op_Checkpoint{Checkpoint: &logpb.Checkpoint{Id: index}}}})
	require.NoError(t, err)
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: data}
}

// future is what raft returns. It is done when the test says so.
type future struct {
	data     []byte
	done     chan struct{}
	index    uint64
	err      error
	response any
}

func newFuture() *future { return &future{done: make(chan struct{})} }

// failed is a future that has failed.
func failed(err error) *future {
	f := newFuture()
	f.end(nil, err)
	return f
}

func (f *future) end(response any, err error) {
	f.response, f.err = response, err
	close(f.done)
}

func (f *future) Error() error  { <-f.done; return f.err }
func (f *future) Index() uint64 { return f.index }
func (f *future) Response() any { return f.response }

// entries is a raft that takes entries, and commits them when the test says so.
type entries chan *future

func (e entries) Apply(data []byte, _ time.Duration) raft.ApplyFuture {
	f := newFuture()
	f.data = data
	e <- f
	return f
}

// hint is a leader elsewhere.
type hint string

func (h hint) addr() string              { return string(h) }
func (h hint) notLeader() error          { return errNotHere }
func (h hint) readError(err error) error { return err }

var errNotHere = errors.New("the leader is elsewhere")

// aRaft is a raft that says what the test has set.
type aRaft struct {
	state    raft.RaftState
	term     uint64
	applied  uint64
	last     uint64
	leader   raft.ServerID
	transfer func() raft.Future
}

func (r *aRaft) State() raft.RaftState { return r.state }
func (r *aRaft) CurrentTerm() uint64   { return r.term }
func (r *aRaft) AppliedIndex() uint64  { return r.applied }
func (r *aRaft) LastIndex() uint64     { return r.last }

func (r *aRaft) Snapshot() raft.SnapshotFuture                     { return nil }
func (r *aRaft) RegisterObserver(*raft.Observer)                   {}
func (r *aRaft) DeregisterObserver(*raft.Observer)                 {}
func (r *aRaft) LeaderWithID() (raft.ServerAddress, raft.ServerID) { return "", r.leader }
func (r *aRaft) LeadershipTransfer() raft.Future                   { return r.transfer() }

func (r *aRaft) LeadershipTransferToServer(raft.ServerID, raft.ServerAddress) raft.Future {
	return r.transfer()
}

// fourServers are three voters, and n3, which has no vote.
var fourServers = []raft.Server{
	{ID: raftnet.ServerID("n1", "a"), Address: "h1:1", Suffrage: raft.Voter},
	{ID: raftnet.ServerID("n2", "b"), Address: "h2:1", Suffrage: raft.Voter},
	{ID: raftnet.ServerID("n3", "c"), Address: "h3:1", Suffrage: raft.Nonvoter},
	{ID: raftnet.ServerID("n4", "d"), Address: "h4:1", Suffrage: raft.Voter},
}

func serversOf() ([]raft.Server, error) { return fourServers, nil }

// answers is what servers answer, by raft id. A server without an entry does not answer.
type answers map[raft.ServerID]PeerInfo

func (a answers) identify(_ context.Context, id raft.ServerID) (PeerInfo, error) {
	info, ok := a[id]
	if !ok {
		return PeerInfo{}, errNobody
	}
	return info, nil
}

// received is what another server has sent of the state.
type received struct {
	at     store.SnapshotPlace
	err    error
	called []string
}

func (r *received) Newest() (store.SnapshotPlace, bool) { return r.at, true }
func (r *received) Heal() (bool, error)                 { r.called = append(r.called, "heal"); return false, r.err }
func (r *received) TakeOver() error                     { r.called = append(r.called, "take over"); return r.err }

// noBrake never holds Apply up.
type noBrake struct{}

func (noBrake) Applied(context.Context) {}
