package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

func TestPiecesBecomeLines(t *testing.T) {
	t.Parallel()
	var got []logLine
	l := newLogLines(func(l *logLine) error {
		got = append(got, *l)
		return nil
	})
	piece := func(index uint32, stream client.LogStream, missing uint64, data string) {
		require.NoError(t, l.add(&client.LogChunk{Task: task.ID{Job: 42, Index: index}, Stream: stream, Missing: missing, Data: []byte(data), Token: 1}))
	}
	type line struct {
		index   uint32
		stream  client.LogStream
		text    string
		partial bool
		missing uint64
	}
	lines := func() (out []line) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, l := range got {
			out = append(out, line{l.part.Task.Index, l.part.Stream, string(l.text), l.partial, l.part.Missing})
		}
		got = nil
		return out
	}
	// Nothing is let go for want of time.
	l.mu.Lock()
	l.timer = time.NewTimer(time.Hour)
	l.mu.Unlock()
	piece(0, client.StdoutStream, 0, "on")
	piece(1, client.StdoutStream, 0, "other\n\nbe")
	piece(0, client.StderrStream, 0, "err")
	piece(0, client.StdoutStream, 0, "e\ntwo\n")
	require.Equal(t, []line{{1, client.StdoutStream, "other", false, 0}, {1, client.StdoutStream, "", false, 0}, {0, client.StdoutStream, "one", false, 0},
		{0, client.StdoutStream, "two", false, 0}}, lines())
	piece(1, client.StdoutStream, 7, "behind the gap\nmore\n")
	require.Equal(t, []line{{1, client.StdoutStream, "be", true, 0}, {1, client.StdoutStream, "behind the gap", false, 7}, {1, client.StdoutStream, "more", false, 0}}, lines())
	require.NoError(t, l.ended(task.ID{Job: 42, Index: 0}))
	require.Equal(t, []line{{0, client.StderrStream, "err", true, 0}}, lines())
	long := strings.Repeat("x", longestLine+3)
	piece(2, client.StdoutStream, 0, long)
	require.NoError(t, l.close())
	require.Equal(t, []line{{2, client.StdoutStream, long[:longestLine], true, 0}, {2, client.StdoutStream, "xxx", true, 0}}, lines())
}

// A prompt, or a bar that grows, is not held for ever.
func TestALineThatHasNoEndIsNotHeldForLong(t *testing.T) {
	t.Parallel()
	printed := make(chan string, 1)
	l := newLogLines(func(l *logLine) error {
		printed <- string(l.text)
		return nil
	})
	require.NoError(t, l.add(&client.LogChunk{Stream: client.StdoutStream, Data: []byte("...")}))
	require.Equal(t, "...", <-printed)
}
