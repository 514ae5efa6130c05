package worker

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/worker/guard"
)

// fakeKeeper is a keeper of which the test has the other end.
func fakeKeeper(t *testing.T) (k *keeper, theirs net.Conn) {
	conn, file, err := socketPair("keeper")
	require.NoError(t, err)
	theirs, err = net.FileConn(file)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	t.Cleanup(func() { _, _ = conn.Close(), theirs.Close() })
	g := &guardProcess{over: make(chan struct{})}
	return &keeper{guard: g, peer: peer{conn: conn}, gone: make(chan struct{}), put: func(*keeper) {}, pid: 1 << 30}, theirs
}

// A keeper that ended at the moment at which it was to start a command told of that later, when
// another one had started it: the command was taken for lost while it ran.
func TestTheEndOfAKeeperSaysNothingOfWhatAnotherOneHasStarted(t *testing.T) {
	t.Parallel()
	first, firstEnd := fakeKeeper(t)
	second, _ := fakeKeeper(t)
	g := newGuardian(&identity{}, slog.New(slog.DiscardHandler), func() time.Duration { return 0 })
	g.idle = []*keeper{second, first}

	first.writing.Lock()
	type started struct {
		p   *proc
		err error
	}
	result := make(chan started, 1)
	go func() {
		p, err := g.run(&guard.StartRequest{Stdin: -1, Stdout: 1, Stderr: 2})
		result <- started{p, err}
	}()
	eventually(t, "the first keeper is to start it", func() bool {
		first.mu.Lock()
		defer first.mu.Unlock()
		return first.proc != nil
	})
	require.NoError(t, firstEnd.Close())
	over := make(chan struct{})
	go func() { defer close(over); first.read() }()
	eventually(t, "the first keeper has ended", func() bool {
		first.mu.Lock()
		defer first.mu.Unlock()
		return first.ended
	})
	first.writing.Unlock()
	s := <-result
	require.NoError(t, s.err)

	close(first.gone)
	<-over
	select {
	case <-s.p.done:
		require.Fail(t, "the command runs", "err: %v", s.p.err)
	default:
	}
	f := guard.Frame(guard.FrameEnded, s.p.id, 0, 0, 0, 0, 0)
	var in guard.Frames
	in.Feed(f)
	kind, fields, ok, err := in.Next()
	require.True(t, ok && err == nil)
	second.handle(kind, &fields)
	<-s.p.done
	require.NoError(t, s.p.err)
}
