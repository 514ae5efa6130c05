package node

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// A sender that goes on while its follower refuses is let go, although nobody reads the
// answers any more: raft stops reading at the first refusal.
func TestPipelineEndsAtARefusal(t *testing.T) {
	t.Parallel()
	open := func() raft.Transport {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		tr := newTransport(l, l.Addr().String(), slog.New(slog.DiscardHandler))
		t.Cleanup(func() { require.NoError(t, tr.Close()) })
		return tr
	}
	leader, follower := open(), open()
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
	send := func() error {
		_, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: 1}, &raft.AppendEntriesResponse{})
		return err
	}
	answer := func() bool {
		select {
		case f := <-p.Consumer():
			require.NoError(t, f.Error())
			return f.Response().Success
		case <-time.After(10 * time.Second):
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
	case <-time.After(10 * time.Second):
		require.Fail(t, "the sender hangs")
	}
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
}
