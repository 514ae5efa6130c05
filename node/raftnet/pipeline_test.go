package raftnet

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// openTransports are a leader's and a follower's.
func openTransports(t *testing.T) (leader, follower raft.Transport) {
	t.Helper()
	open := func(self raft.ServerID) raft.Transport {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		tr := peerIdentity{newTransport(newStreamLayer(Config{Listener: l, Addr: l.Addr().String()}, openAdmission(t, self)), slog.New(slog.DiscardHandler), newBatchSizes(), newProgress())}
		t.Cleanup(func() { require.NoError(t, tr.Close()) })
		return tr
	}
	return open("leader"), open("follower")
}

// A sender that goes on while its follower refuses is released, although nobody reads the answers any more: raft
// stops reading at the first refusal.
func TestPipelineEndsAtARefusal(t *testing.T) {
	t.Parallel()
	leader, follower := openTransports(t)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for n := 0; ; n++ {
			select {
			case rpc := <-follower.Consumer():
				// The first one is taken, all others are refused.
				rpc.Respond(&raft.AppendEntriesResponse{Success: n == 0}, nil)
			case <-stop:
				return
			}
		}
	}()
	p, err := leader.AppendEntriesPipeline("follower", follower.LocalAddr())
	require.NoError(t, err)
	commit := uint64(0)
	send := func() error {
		commit++
		_, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: 1, LeaderCommitIndex: commit}, &raft.AppendEntriesResponse{})
		return err
	}
	answer := func() bool {
		select {
		case f := <-p.Consumer():
			require.NoError(t, f.Error())
			return f.Response().Success
		case <-time.After(patience):
			require.Fail(t, "no answer came")
			return false
		}
	}
	require.NoError(t, send())
	require.True(t, answer())
	require.NoError(t, send())
	require.False(t, answer())
	ended := make(chan error, 1)
	go func() {
		for {
			if err := send(); err != nil {
				ended <- err
				return
			}
		}
	}()
	select {
	case err := <-ended:
		require.Error(t, err)
	case <-time.After(patience):
		require.Fail(t, "the sender hangs")
	}
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
}

// A message without news is not sent. A commit, an entry, and now and then a sign of life are sent.
func TestPipelineDoesNotRepeatItself(t *testing.T) {
	t.Parallel()
	leader, follower := openTransports(t)
	arrived := make(chan *raft.AppendEntriesRequest, 10)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case rpc := <-follower.Consumer():
				arrived <- rpc.Command.(*raft.AppendEntriesRequest)
				rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
			case <-stop:
				return
			}
		}
	}()
	p, err := leader.AppendEntriesPipeline("follower", follower.LocalAddr())
	require.NoError(t, err)
	defer func() { _ = p.Close() }()
	go func() {
		for {
			select {
			case <-p.Consumer():
			case <-stop:
				return
			}
		}
	}()
	send := func(req *raft.AppendEntriesRequest) {
		_, err := p.AppendEntries(req, &raft.AppendEntriesResponse{})
		require.NoError(t, err)
	}
	next := func() *raft.AppendEntriesRequest {
		select {
		case req := <-arrived:
			return req
		case <-time.After(patience):
			require.Fail(t, "nothing arrived")
			return nil
		}
	}
	entry := &raft.AppendEntriesRequest{LeaderCommitIndex: 1, Entries: []*raft.Log{{Index: 2}}}
	send(entry)
	send(&raft.AppendEntriesRequest{LeaderCommitIndex: 1, PrevLogEntry: 2})
	send(&raft.AppendEntriesRequest{LeaderCommitIndex: 2, PrevLogEntry: 2})
	require.Len(t, next().Entries, 1)
	require.Equal(t, uint64(2), next().LeaderCommitIndex)
	said := time.Now()
	for len(arrived) == 0 {
		require.Less(t, time.Since(said), 10*time.Second, "a pipeline without news gives no sign of life")
		send(&raft.AppendEntriesRequest{LeaderCommitIndex: 2, PrevLogEntry: 2})
	}
	require.GreaterOrEqual(t, time.Since(said), idleInterval/2)
}

// A busy server that takes the state over takes its time, and the transfer must not be given
// up meanwhile: the next one has more to send.
func TestTheStateIsTakenOverInWhatTimeItTakes(t *testing.T) {
	t.Parallel()
	const size = 512 << 10
	leader, follower := openTransports(t)
	go func() {
		rpc := <-follower.Consumer()
		_, _ = io.Copy(io.Discard, rpc.Reader)
		time.Sleep(5 * transportTimeout / 2) // it writes that to its disk, and checks it
		rpc.Respond(&raft.InstallSnapshotResponse{Success: true}, nil)
	}()
	out := &raft.InstallSnapshotResponse{}
	r := &raft.InstallSnapshotRequest{Term: 7, Size: size}
	require.NoError(t, leader.InstallSnapshot("follower", follower.LocalAddr(), r, out, bytes.NewReader(make([]byte, size))))
	require.True(t, out.Success)
}
