//go:build linux

package command

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rota-scheduler/rota/task"
)

// Whatever is written in whatever pieces, all of it is kept, or its two ends.
func TestCaptureKeepsAllOrTheEnds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.OneOf(rapid.IntRange(0, 5*task.MaxPayload), rapid.IntRange(task.MaxPayload-4, task.MaxPayload+4)).Draw(t, "size")
		unit := []byte(rapid.SampledFrom([]string{"x", "é", "€", "🂡", "\x80", "\xff\xfe\x00"}).Draw(t, "unit"))
		offset := rapid.IntRange(0, len(unit)-1).Draw(t, "offset")
		all := bytes.Repeat(unit, size/len(unit)+2)[offset:][:size]
		c := capture{b: make([]byte, 0, rapid.SampledFrom([]int{0, readSize, keepBuffer}).Draw(t, "buffer"))}
		for rest := all; len(rest) > 0; {
			room := c.room()
			require.GreaterOrEqual(t, len(room), readSize)
			n := copy(room[:min(len(room), rapid.IntRange(1, pipeSize).Draw(t, "piece"))], rest)
			c.add(n)
			rest = rest[n:]
		}
		require.Equal(t, len(all) > task.MaxPayload, c.tooLarge())
		c.finish()
		require.LessOrEqual(t, cap(c.b), maxCapture)
		require.Equal(t, len(all) > task.MaxPayload, c.tooLarge())
		if len(all) <= task.MaxPayload {
			require.True(t, bytes.Equal(all, c.b))
			return
		}
		require.Equal(t, uint64(len(all)), uint64(len(c.b))+c.missing)
		head, tail := c.b[:c.head], c.b[c.head:]
		require.True(t, bytes.HasPrefix(all, head) && bytes.HasSuffix(all, tail))
		require.True(t, len(head) > keptEnd-utf8.UTFMax && len(head) <= keptEnd)
		require.True(t, len(tail) > keptEnd-utf8.UTFMax && len(tail) <= keptEnd)
		if offset == 0 && utf8.Valid(unit) {
			require.True(t, utf8.Valid(head), "the beginning is not cut within a character")
			r, _ := utf8.DecodeRune(tail)
			require.NotEqual(t, utf8.RuneError, r, "the end does not begin within one")
		}
	})
}
