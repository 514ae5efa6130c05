package raftnet

import (
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// However many connect and say nothing, servers of the cluster get in, and no more wait than
// there is room for.
func TestSilentConnectionsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	from, _ := serveRaft(t, "n1/a")
	to, asked := serveRaft(t, "n2/b")
	var silent []net.Conn
	for range maxHandshakes + 10 {
		c, err := net.Dial("tcp", string(to.LocalAddr()))
		require.NoError(t, err)
		defer c.Close()
		silent = append(silent, c)
	}
	require.NoError(t, ways["vote"](from, "n2/b", to.LocalAddr()))
	require.IsType(t, &raft.RequestVoteRequest{}, <-asked)
	for _, c := range silent {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
		_, err := c.Read(make([]byte, 1))
		require.Error(t, err)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it is still open")
	}
}

func TestAStrangerIsNotHeard(t *testing.T) {
	t.Parallel()
	for _, from := range []raft.ServerID{"n7/stranger", "n2/b", ""} {
		stranger, _ := serveRaft(t, from)
		to, asked := serveRaft(t, "n2/b")
		for name, send := range ways {
			require.Error(t, send(stranger, "n2/b", to.LocalAddr()), name)
		}
		require.Empty(t, asked)
	}
}

// pipe is a connection of a server, and what another one writes into it.
func pipe(t *testing.T) (in *inbound, out net.Conn) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return newInbound(a, "n1/a", openAdmission(t, "n2/b")), b
}

func TestAMessageThatBeginsMustEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in, out := pipe(t)
		vote := append([]byte{kindRequestVote}, encode(t, &raft.RequestVoteRequest{RPCHeader: headerOf("n1/a"), Term: 7})...)
		sent := make(chan int)
		go func() {
			time.Sleep(24 * time.Hour) // between messages there is no hurry
			_, _ = out.Write(vote)
			time.Sleep(24 * time.Hour)
			n := 0
			for ; n < len(vote); n++ {
				if _, err := out.Write(vote[n : n+1]); err != nil {
					break
				}
				time.Sleep(messageTimeout/4 + time.Millisecond)
			}
			sent <- n
		}()
		buf := make([]byte, 4<<10)
		n, err := in.Read(buf)
		require.NoError(t, err)
		require.Equal(t, len(vote), n)
		start := time.Now()
		for err == nil {
			_, err = in.Read(buf)
		}
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 24*time.Hour+messageTimeout, time.Since(start))
		require.NoError(t, in.Close())
		require.Equal(t, 4, <-sent)
	})
}

// A message counts as that of the server which has opened the connection, and of no other.
func TestOneServerSpeaksOnAConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in, out := pipe(t)
		go func() {
			for _, id := range []raft.ServerID{"n1/a", "b"} {
				_, _ = out.Write(append([]byte{kindTimeoutNow}, encode(t, &raft.TimeoutNowRequest{RPCHeader: headerOf(id)})...))
			}
		}()
		buf := make([]byte, 4<<10)
		_, err := in.Read(buf)
		require.NoError(t, err)
		n, err := in.Read(buf)
		require.ErrorIs(t, err, errOtherSender)
		require.Zero(t, n)
	})
}
