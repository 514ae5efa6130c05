package raftnet

import (
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// serveRaft opens a transport of a server that answers everything, and counts it.
func serveRaft(t *testing.T, self raft.ServerID) (tr Base, asked chan any) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	tr = peerIdentity{newTransport(newStreamLayer(Config{Listener: l, Addr: l.Addr().String()}, openAdmission(t, self)), slog.New(slog.DiscardHandler), newBatchSizes(), newProgress())}
	asked = make(chan any, 100)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case rpc := <-tr.Consumer():
				select {
				case asked <- rpc.Command:
				default: // nobody reads them; every message is answered anyway
				}
				switch rpc.Command.(type) {
				case *raft.RequestVoteRequest:
					rpc.Respond(&raft.RequestVoteResponse{Granted: true}, nil)
				case *raft.RequestPreVoteRequest:
					rpc.Respond(&raft.RequestPreVoteResponse{Granted: true}, nil)
				case *raft.AppendEntriesRequest:
					rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
				case *raft.InstallSnapshotRequest:
					rpc.Respond(&raft.InstallSnapshotResponse{Success: true}, nil)
				case *raft.TimeoutNowRequest:
					rpc.Respond(&raft.TimeoutNowResponse{}, nil)
				}
			}
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, tr.Close())
		close(stop)
		<-stopped
	})
	return tr, asked
}

// ways is every message that one server can send to another.
var ways = map[string]func(tr Base, id raft.ServerID, to raft.ServerAddress) error{
	"vote": func(tr Base, id raft.ServerID, to raft.ServerAddress) error {
		return tr.RequestVote(id, to, &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{})
	},
	"pre-vote": func(tr Base, id raft.ServerID, to raft.ServerAddress) error {
		return tr.RequestPreVote(id, to, &raft.RequestPreVoteRequest{}, &raft.RequestPreVoteResponse{})
	},
	"entries": func(tr Base, id raft.ServerID, to raft.ServerAddress) error {
		return tr.AppendEntries(id, to, &raft.AppendEntriesRequest{}, &raft.AppendEntriesResponse{})
	},
	"snapshot": func(tr Base, id raft.ServerID, to raft.ServerAddress) error {
		return tr.InstallSnapshot(id, to, &raft.InstallSnapshotRequest{}, &raft.InstallSnapshotResponse{}, strings.NewReader(""))
	},
	"transfer": func(tr Base, id raft.ServerID, to raft.ServerAddress) error {
		return tr.TimeoutNow(id, to, &raft.TimeoutNowRequest{}, &raft.TimeoutNowResponse{})
	},
	"pipeline": func(tr Base, id raft.ServerID, to raft.ServerAddress) error {
		p, err := tr.AppendEntriesPipeline(id, to)
		if err != nil {
			return err
		}
		defer func() { _ = p.Close() }()
		if _, err := p.AppendEntries(&raft.AppendEntriesRequest{}, &raft.AppendEntriesResponse{}); err != nil {
			return err
		}
		return (<-p.Consumer()).Error()
	},
}

func TestAMessageReachesNobodyButTheServerThatIsMeant(t *testing.T) {
	t.Parallel()
	from, _ := serveRaft(t, "n1/old")
	to, asked := serveRaft(t, "n2/new")
	for name, send := range ways {
		require.NoError(t, send(from, "n2/new", to.LocalAddr()), name)
		require.NotNil(t, <-asked)
		require.Error(t, send(from, "n2/old", to.LocalAddr()), name)
		require.NoError(t, send(from, "n2/new", to.LocalAddr()), "%s: the right one is still reached", name)
		require.NotNil(t, <-asked)
		require.Empty(t, asked, name)
	}
}

func TestWhoConnectsAndSaysNothingKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	from, _ := serveRaft(t, "n1/a")
	to, asked := serveRaft(t, "n2/b")
	silent, err := net.Dial("tcp", string(to.LocalAddr()))
	require.NoError(t, err)
	defer silent.Close()
	stranger, err := net.Dial("tcp", string(to.LocalAddr()))
	require.NoError(t, err)
	defer stranger.Close()
	_, err = stranger.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	require.NoError(t, err)
	require.NoError(t, ways["vote"](from, "n2/b", to.LocalAddr()))
	require.IsType(t, &raft.RequestVoteRequest{}, <-asked)
	for _, c := range []net.Conn{silent, stranger} {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
		_, err := c.Read(make([]byte, 1))
		require.Error(t, err)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it is still open")
	}
}
