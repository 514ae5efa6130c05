//go:build linux

package guard

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is for what happens at once, on a machine that is busy.
const patience = 30 * time.Second

// fakeKeeper is a keeper of which the test has the other end.
func fakeKeeper(t *testing.T) (k *remoteKeeper, theirs net.Conn) {
	ours, file, err := socketPair("keeper")
	require.NoError(t, err)
	theirs, err = net.FileConn(file)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	g := &remoteGuard{over: make(chan struct{})}
	return &remoteKeeper{guard: g, conn: conn{file: ours}, gone: make(chan struct{}), put: func(*remoteKeeper) {}, pid: 1 << 30}, theirs
}

// A keeper that ended at the moment when it had to start a command once reported that later, when another keeper had
// started the command. The command then counted as lost while it ran.
func TestTheEndOfAKeeperSaysNothingOfWhatAnotherOneHasStarted(t *testing.T) {
	t.Parallel()
	first, firstEnd := fakeKeeper(t)
	second, _ := fakeKeeper(t)
	g := NewClient(Config{Logger: slog.New(slog.DiscardHandler), Deadline: func() time.Duration { return 0 }})
	g.idle = []*remoteKeeper{second, first}

	first.writing.Lock()
	type started struct {
		p   *Process
		err error
	}
	result := make(chan started, 1)
	go func() {
		p, err := g.Run(&Request{Stdin: -1, Stdout: 1, Stderr: 2})
		result <- started{p, err}
	}()
	require.Eventually(t, func() bool {
		first.mu.Lock()
		defer first.mu.Unlock()
		return first.proc != nil
	}, patience, time.Millisecond, "the first keeper is to start it")
	require.NoError(t, firstEnd.Close())
	over := make(chan struct{})
	go func() { defer close(over); first.read() }()
	require.Eventually(t, func() bool {
		first.mu.Lock()
		defer first.mu.Unlock()
		return first.ended
	}, patience, time.Millisecond, "the first keeper has ended")
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
	f := numberFrame(frameEnded, s.p.id, 0, 0, 0, 0, 0)
	var in frames
	in.feed(f)
	kind, fields, ok, err := in.next()
	require.True(t, ok && err == nil)
	second.handle(kind, &fields)
	<-s.p.done
	require.NoError(t, s.p.err)
}
