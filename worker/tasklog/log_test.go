package tasklog

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// Whatever is written in whatever pieces, a reader gets all of it from where it begins, in order.
func TestReadersSeeWhatWasWrittenInOrder(t *testing.T) {
	t.Parallel()
	s := newStore(t, 1, 1024, 1024)
	token := uint64(0)
	rapid.Check(t, func(rt *rapid.T) {
		token++
		key := Key{Job: 1, Token: token}
		l := s.Open(key)
		f := filler{log: l}
		places := []Position{{}}
		for range rapid.IntRange(0, 30).Draw(rt, "writes") {
			f.write(Stream(rapid.IntRange(0, 1).Draw(rt, "stream")), rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 2*BlockSize)).Draw(rt, "size"))
			places = append(places, f.at)
		}
		if rapid.Bool().Draw(rt, "settle") {
			settled(t, s, l)
		}
		l.End()
		for range 3 {
			from := rapid.SampledFrom(places).Draw(rt, "from")
			got := mustReadAll(t, l.Read(from, Both), rapid.SampledFrom([]int{1 << 10, BlockSize, 1 << 20}).Draw(rt, "most"))
			require.Equal(rt, f.at, got.at)
			require.Equal(rt, f.at.since(from), got.got)
			require.Zero(rt, got.gap)
		}
	})
}

func TestAReaderOfOneStreamGetsNothingOfTheOther(t *testing.T) {
	t.Parallel()
	l := newStore(t, 1, 64, 64).Open(Key{Token: 1})
	f := filler{log: l}
	for range 40 {
		f.write(Stdout, 3000)
		f.write(Stderr, 2000)
	}
	l.End()
	r := l.Read(Position{}, OnlyStderr)
	var got []byte
	for {
		c, err := r.Ready(1 << 20)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		require.Equal(t, Stderr, c.Stream)
		got = append(got, c.Data...)
	}
	require.Len(t, got, 40*2000)
	require.Equal(t, byteAt(Stderr, 70_000), got[70_000])
	require.Equal(t, f.at, r.At())
}

// A log that has its share drops its oldest block for each new one. A reader that comes too late is told what it has
// missed.
func TestASlowReaderIsToldOfItsGap(t *testing.T) {
	t.Parallel()
	s := newStore(t, 1, 4, 4)
	l := s.Open(Key{Token: 1})
	r := l.Read(Position{}, Both)
	f := filler{log: l}
	f.write(Stdout, 100)
	c, err := r.Ready(1 << 20)
	require.NoError(t, err)
	require.Len(t, c.Data, 100)
	for range 20 {
		f.write(Stdout, BlockSize/2)
		f.write(Stderr, BlockSize/2)
		settled(t, s, l)
	}
	l.End()
	settled(t, s, l)
	got := reading{at: r.At()}
	for {
		c, err := r.Ready(1 << 20)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		require.NoError(t, got.check(c))
	}
	require.Equal(t, f.at, got.at)
	require.Positive(t, got.gap.Stdout)
	require.Positive(t, got.gap.Stderr)
	require.GreaterOrEqual(t, got.got.sum(), uint64(3*(BlockSize-2*recordHead)))
	require.LessOrEqual(t, s.places, 4)
}

// Readers at any pace, with a log that wraps around all the time, get the bytes of their places and a gap for the
// others. Nobody is given what another block has written in the same place on disk.
func TestReadersOfALogThatWrapsAroundGetNoForeignBytes(t *testing.T) {
	t.Parallel()
	s := newStore(t, 2, 8, 6)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	const logs, readers = 2, 3
	var parts sync.WaitGroup
	var got [logs][readers]reading
	var errs [logs][readers]error
	for n := range logs {
		l := s.Open(Key{Token: uint64(n)})
		for k := range readers {
			parts.Go(func() { got[n][k], errs[n][k] = readAll(ctx, l.Read(Position{}, Both), 1<<(10+3*k)) })
		}
		parts.Go(func() {
			f := filler{log: l}
			for range 400 {
				f.write(Stdout, 7000)
				f.write(Stderr, 5000)
			}
			l.End()
		})
	}
	parts.Wait()
	for n := range logs {
		for k := range readers {
			require.NoError(t, errs[n][k])
			require.Equal(t, uint64(400*7000), got[n][k].got.Stdout+got[n][k].gap.Stdout)
			require.Equal(t, uint64(400*5000), got[n][k].got.Stderr+got[n][k].gap.Stderr)
		}
	}
}

func TestWhoWaitsHearsOfMoreAndOfTheEnd(t *testing.T) {
	t.Parallel()
	s := newStore(t, 1, 8, 8)
	key := Key{Job: 3, Token: 9}
	none, opened := s.Find(key)
	require.Nil(t, none)
	l := s.Open(key)
	<-opened
	found, _ := s.Find(key)
	require.Same(t, l, found)
	r := l.Read(Position{}, Both)
	_, err := r.Ready(100)
	require.ErrorIs(t, err, ErrNoMore)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go l.Stdout([]byte("hello"))
	c, err := r.Next(ctx, 100)
	require.NoError(t, err)
	require.Equal(t, "hello", string(c.Data))
	go l.End()
	_, err = r.Next(ctx, 100)
	require.ErrorIs(t, err, io.EOF)
	l.Stdout([]byte("more"))
	_, err = r.Next(ctx, 100)
	require.ErrorIs(t, err, io.EOF, "nothing comes behind the end")
}

func TestALogThatPrintedNothingIsNotKept(t *testing.T) {
	t.Parallel()
	s := newStore(t, 1, 8, 8)
	l := s.Open(Key{Token: 1})
	l.End()
	found, _ := s.Find(Key{Token: 1})
	require.Nil(t, found)
}

// What commands print never waits for the disk.
func TestASlowDiskNeverHoldsUpATask(t *testing.T) {
	t.Parallel()
	s := newStore(t, 1, 1024, 1024)
	release := make(chan struct{})
	put := s.put
	s.put = func(slot int, records []byte) error { <-release; return put(slot, records) }
	l := s.Open(Key{Token: 1})
	f := filler{log: l}
	for range 4 * maxQueued {
		f.write(Stdout, BlockSize)
	}
	l.End()
	close(release)
	settled(t, s, l)
	got := mustReadAll(t, l.Read(Position{}, Both), 1<<20)
	require.Equal(t, f.at, got.at)
	require.Positive(t, got.gap.Stdout)
	require.GreaterOrEqual(t, got.got.Stdout, uint64(maxQueued*(BlockSize-recordHead)))
}

func TestAFullDiskIsAGapAndNoError(t *testing.T) {
	t.Parallel()
	s := newStore(t, 1, 8, 8)
	s.put = func(int, []byte) error { return unix.ENOSPC }
	l := s.Open(Key{Token: 1})
	f := filler{log: l}
	for range 6 {
		f.write(Stderr, BlockSize)
	}
	settled(t, s, l)
	f.write(Stdout, 10)
	require.Zero(t, l.slots, "the places are free again")
	l.End()
	got := mustReadAll(t, l.Read(Position{}, Both), 1<<20)
	require.Equal(t, f.at, got.at)
	require.Equal(t, uint64(10), got.got.Stdout)
	require.Positive(t, got.gap.Stderr)
	require.Zero(t, s.taken)
}
