package tasklog

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// newStore makes a store with room for a number of blocks in all, and for one log.
func newStore(t testing.TB, slots, total, perTask int) *Store {
	t.Helper()
	cfg := Config{Dir: t.TempDir(), PerTask: int64(perTask) * BlockSize, Total: int64(total) * BlockSize, Slots: slots, Logger: slog.New(slog.DiscardHandler)}
	s := New(cfg)
	t.Cleanup(s.Close)
	return s
}

// byteAt is the byte of a stream at a place, so that a reader can tell whether it is given the right ones.
func byteAt(s Stream, at uint64) byte { return byte(at*2654435761>>13) ^ byte(at) ^ byte(s)<<7 }

// filler writes streams of byteAt.
type filler struct {
	log *Log
	at  Position
}

func (f *filler) write(s Stream, n int) {
	from := f.at.Stdout
	if s == Stderr {
		from = f.at.Stderr
	}
	data := make([]byte, n)
	for i := range data {
		data[i] = byteAt(s, from+uint64(i))
	}
	f.at = f.at.behind(s, n)
	if s == Stdout {
		f.log.Stdout(data)
	} else {
		f.log.Stderr(data)
	}
}

// reading is what a reader was given.
type reading struct {
	at, got, gap Position
	chunks       int
}

// check takes a chunk, whose bytes must be those of their places.
func (r *reading) check(c Chunk) error {
	r.at = Position{r.at.Stdout + c.Gap.Stdout, r.at.Stderr + c.Gap.Stderr}
	r.gap = Position{r.gap.Stdout + c.Gap.Stdout, r.gap.Stderr + c.Gap.Stderr}
	from := r.at.Stdout
	if c.Stream == Stderr {
		from = r.at.Stderr
	}
	for i, b := range c.Data {
		if b != byteAt(c.Stream, from+uint64(i)) {
			return errors.New("a byte is not the one of its place")
		}
	}
	r.at, r.got = r.at.behind(c.Stream, len(c.Data)), r.got.behind(c.Stream, len(c.Data))
	if c.Behind != r.at {
		return errors.New("a chunk is not where it says")
	}
	r.chunks++
	return nil
}

// readAll reads a log to its end, and checks all of it.
func readAll(ctx context.Context, r *Reader, most int) (reading, error) {
	got := reading{at: r.At()}
	for {
		c, err := r.Next(ctx, most)
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err == nil {
			err = got.check(c)
		}
		if err != nil {
			return got, err
		}
	}
}

func mustReadAll(t testing.TB, r *Reader, most int) reading {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, err := readAll(ctx, r, most)
	require.NoError(t, err)
	return got
}

// settled waits until no block waits for the disk.
func settled(t testing.TB, s *Store, l *Log) {
	t.Helper()
	require.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, b := range l.blocks {
			if b.slot >= 0 && b.records != nil {
				return false
			}
		}
		return len(s.waiting) == 0
	}, patience, time.Millisecond)
}
