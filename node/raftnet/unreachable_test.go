package raftnet

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// unreachablePair is a leader's transport, and a server that goes away and comes back.
type unreachablePair struct {
	*unreachable
	t      *testing.T
	addr   raft.ServerAddress
	wanted atomic.Bool
	// taken is the entries and snapshots that have reached the server.
	taken chan any
	end   func()
}

func newUnreachablePair(t *testing.T) *unreachablePair {
	p := &unreachablePair{t: t, taken: make(chan any, 100)}
	leader, _ := openTransports(t)
	p.unreachable = newUnreachable(leader.(Base), func(uint64, raft.ServerID) bool { return p.wanted.Load() }, newBatchSizes(), newProgress(), newUnreachableLog(slog.New(slog.DiscardHandler)))
	t.Cleanup(func() { require.NoError(t, p.unreachable.Close()) })
	p.wanted.Store(true)
	return p
}

// come starts the server, where it was before.
func (p *unreachablePair) come() {
	p.t.Helper()
	addr := "127.0.0.1:0"
	if p.addr != "" {
		addr = string(p.addr)
	}
	l, err := net.Listen("tcp", addr)
	require.NoError(p.t, err)
	if p.addr == "" { // who waits for the server reads it
		p.addr = raft.ServerAddress(l.Addr().String())
	}
	tr := peerIdentity{newTransport(newStreamLayer(Config{Listener: l, Addr: l.Addr().String()}, openAdmission(p.t, "b")), slog.New(slog.DiscardHandler), newBatchSizes(), newProgress())}
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case rpc := <-tr.Consumer():
				if rpc.Reader != nil {
					_, _ = io.Copy(io.Discard, rpc.Reader)
					p.taken <- rpc.Command
					rpc.Respond(&raft.InstallSnapshotResponse{Success: true}, nil)
					continue
				}
				if r := rpc.Command.(*raft.AppendEntriesRequest); !isHeartbeat(r) {
					p.taken <- r
				}
				rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
			case <-stop:
				return
			}
		}
	}()
	p.end = func() {
		require.NoError(p.t, tr.Close())
		close(stop)
	}
}

func (p *unreachablePair) beat() error {
	return p.AppendEntries("b", p.addr, &raft.AppendEntriesRequest{Term: 7}, &raft.AppendEntriesResponse{})
}

// send sends an entry, and returns where its outcome will be.
func (p *unreachablePair) send() (<-chan error, *raft.AppendEntriesRequest) {
	r := &raft.AppendEntriesRequest{Term: 7, PrevLogEntry: 1, PrevLogTerm: 7, Entries: []*raft.Log{{Index: 2, Term: 7}}}
	out := make(chan error, 1)
	go func() { out <- p.AppendEntries("b", p.addr, r, &raft.AppendEntriesResponse{}) }()
	return out, r
}

// leave ends the server, and waits until a heartbeat shows it.
func (p *unreachablePair) leave() {
	p.t.Helper()
	p.end()
	require.Eventually(p.t, func() bool { return p.beat() != nil }, patience, time.Millisecond)
}

func (p *unreachablePair) requireWaiting(out <-chan error) {
	p.t.Helper()
	select {
	case err := <-out:
		require.Fail(p.t, "it did not wait", "%v", err)
	case <-time.After(3 * wantedInterval):
	}
}

func TestEntriesWaitForAServerThatIsAway(t *testing.T) {
	t.Parallel()
	p := newUnreachablePair(t)
	p.come()
	out, _ := p.send()
	require.NoError(t, <-out)
	require.NoError(t, p.beat())
	require.Len(t, p.taken, 1, "an entry goes at once to a server that is there")

	p.leave()
	out, r := p.send()
	p.requireWaiting(out)
	require.Error(t, p.beat())
	p.requireWaiting(out)
	p.come()
	defer func() { p.end() }()
	require.NoError(t, p.beat())
	require.ErrorIs(t, <-out, errReturned)
	require.Empty(t, r.Entries, "what waits is not kept")
	require.Len(t, p.taken, 1)
	out, _ = p.send()
	require.NoError(t, <-out)
	require.Len(t, p.taken, 2)
}

// closable is a snapshot that notes when it is closed.
type closable struct {
	io.Reader
	closed bool
}

func (c *closable) Close() error { c.closed = true; return nil }

func TestASnapshotWaitsForAServerThatIsAwayAndIsNotKeptOpen(t *testing.T) {
	t.Parallel()
	p := newUnreachablePair(t)
	p.come()
	install := func(data io.Reader) <-chan error {
		out := make(chan error, 1)
		go func() {
			r := &raft.InstallSnapshotRequest{Term: 7, Size: 3}
			out <- p.InstallSnapshot("b", p.addr, r, &raft.InstallSnapshotResponse{}, data)
		}()
		return out
	}
	require.NoError(t, <-install(bytes.NewReader([]byte("abc"))))
	p.leave()
	data := &closable{Reader: bytes.NewReader([]byte("abc"))}
	out := install(data)
	p.requireWaiting(out)
	p.come()
	defer func() { p.end() }()
	require.NoError(t, p.beat())
	require.ErrorIs(t, <-out, errReturned)
	require.True(t, data.closed)
	require.Len(t, p.taken, 1)
}

// TestADeposedLeaderStopsSendingItsState: until the end of the transfer the other server would hear no other leader.
func TestADeposedLeaderStopsSendingItsState(t *testing.T) {
	t.Parallel()
	p := newUnreachablePair(t)
	p.come()
	defer func() { p.end() }()
	const size = 8 * wantedBytes
	read := 0
	data := readerFunc(func(b []byte) (int, error) {
		p.wanted.Store(read < size/4)
		read += len(b)
		return len(b), nil
	})
	err := p.InstallSnapshot("b", p.addr, &raft.InstallSnapshotRequest{Term: 7, Size: size}, &raft.InstallSnapshotResponse{}, io.LimitReader(data, size))
	require.ErrorIs(t, err, errNotWanted)
	require.Less(t, read, size/2)
	p.wanted.Store(true)
	require.NoError(t, p.beat(), "others are heard again")
}

// readerFunc is an io.Reader.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// Raft's goroutine for a server ends when this one does not lead any more, when the other
// one is removed, and when this one ends: none of them waits for ever.
func TestNobodyWaitsForAServerThatIsNotWantedAnyMore(t *testing.T) {
	t.Parallel()
	p := newUnreachablePair(t)
	p.come()
	p.leave()
	out, _ := p.send()
	p.requireWaiting(out)
	p.wanted.Store(false)
	require.ErrorIs(t, <-out, errNotWanted)
	p.wanted.Store(true)
	out, _ = p.send()
	p.requireWaiting(out)
	require.NoError(t, p.unreachable.Close())
	require.ErrorIs(t, <-out, raft.ErrTransportShutdown)
}
