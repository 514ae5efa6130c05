package raftnet

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// loud returns the lines that operators see.
func (l *lines) loud() (out []slog.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.all {
		if r.Level > slog.LevelDebug {
			out = append(out, r)
		}
	}
	return out
}

func TestRaftSaysTheSameOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLines()
		l := NewLogger(slog.New(log))
		refusedAt := func(port string) error { return errors.New("read tcp 127.0.0.1:" + port + ": it is refused") }
		for i := range 600 {
			l.Error("failed to make requestVote RPC", "target", "n2", "error", refusedAt([]string{"1", "22"}[i%2]), "term", i)
			time.Sleep(100 * time.Millisecond)
		}
		require.Len(t, log.loud(), 1, "ports and terms make no other message")
		l.Error("failed to make requestVote RPC", "target", "n2", "error", refusedAt("3"))
		require.Len(t, log.loud(), 2)
		require.EqualValues(t, 599, attr(log.loud()[1], "repeated").Int64())
		l.Error("failed to make requestVote RPC", "target", "n3", "error", refusedAt("3"))
		l.Error("failed to make requestVote RPC", "target", "n2", "error", errors.New("another one"))
		l.Error("failed to take snapshot", "error", refusedAt("3"))
		l.Warn("Election timeout reached, restarting election")
		require.Len(t, log.loud(), 6, "what is new is said")
		require.Len(t, log.all, 605, "nothing is lost")
		for i := range 10 * maxRepeats {
			l.Error(string(rune('a' + i)))
		}
		require.Len(t, log.loud(), 6+10*maxRepeats)
	})
}

func TestARefusalIsNoAbsence(t *testing.T) {
	t.Parallel()
	away := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for msg, want := range map[string]bool{"failed to heartbeat to": true, "failed to appendEntries to": true, "failed to take snapshot": false} {
		require.Equal(t, want, toldOtherwise(msg, []any{"peer", "n2", "error", away}), msg)
	}
	require.True(t, toldOtherwise("failed to appendEntries to", []any{"peer", "n2", "error", io.EOF}))
	require.False(t, toldOtherwise("failed to appendEntries to", []any{"peer", "n2", "error", errors.New(errEntries.Error())}))
}

func TestAnAbsentServerHasALineAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLines()
		a := newUnreachableLog(slog.New(log))
		const away raft.ServerID = "n2/b"
		fail := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(125 * time.Millisecond) {
				a.heard(away, 7, io.EOF)
			}
		}
		a.heard(away, 7, nil)
		fail(unreachableAfter / 2)
		a.heard(away, 7, nil)
		require.Empty(t, log.all, "a heartbeat or two may be lost")
		fail(5 * time.Minute)
		require.Len(t, log.all, 5)
		a.heard(away, 7, nil)
		a.heard(away, 7, nil)
		require.Len(t, log.all, 6)
		require.Equal(t, "a server answers again", log.all[5].Message)
		for range 30 { // one that comes and goes
			fail(2 * time.Second)
			a.heard(away, 7, nil)
		}
		require.LessOrEqual(t, len(log.all), 8)
	})
}
