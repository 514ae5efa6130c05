package tasklog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fill opens a log and writes a number of blocks to it.
func fill(t *testing.T, s *Store, token uint64, blocks int) *Log {
	t.Helper()
	l := s.Open(Key{Token: token})
	f := filler{log: l}
	for range blocks {
		f.write(Stdout, BlockSize-recordHead) // one block exactly, which is sealed by the next byte
		settled(t, s, l)
	}
	f.write(Stdout, 1)
	settled(t, s, l)
	return l
}

func (s *Store) has(token uint64) bool {
	l, _ := s.Find(Key{Token: token})
	return l != nil
}

func TestEndedLogsGoBeforeRunningOnesAndTheOldestFirst(t *testing.T) {
	t.Parallel()
	s := newStore(t, 2, 24, 24) // 16 beside those of which running logs are sure
	for token := range uint64(2) {
		fill(t, s, token, 6).End() // 7 blocks, with the one that was open
	}
	require.True(t, s.has(0) && s.has(1))
	running := fill(t, s, 2, 12)
	require.False(t, s.has(0), "the oldest one made room")
	require.True(t, s.has(1))
	require.Equal(t, 12, running.slots)
	require.Equal(t, 8, s.extra)
	fill(t, s, 3, 20)
	require.False(t, s.has(1))
	require.True(t, s.has(2), "it runs")
	require.Equal(t, 12, running.slots, "running logs take nothing from each other")
	require.Equal(t, 24, s.places)
	require.Equal(t, s.common, s.extra)
}

func TestEveryRunningLogIsSureOfItsShare(t *testing.T) {
	t.Parallel()
	s := newStore(t, 3, 3*sureBlocks+2, 64)
	for token := range uint64(3) {
		l := fill(t, s, token, 20)
		require.GreaterOrEqual(t, l.slots, sureBlocks)
	}
	require.Equal(t, 3*sureBlocks+2, s.places)
}

func TestPlacesOfLogsThatWentAreUsedAgain(t *testing.T) {
	t.Parallel()
	s := newStore(t, 1, 12, 8)
	for token := range uint64(20) {
		l := fill(t, s, token, 10)
		l.End()
		settled(t, s, l)
		got := mustReadAll(t, l.Read(Position{}, Both), 1<<20)
		require.GreaterOrEqual(t, got.got.Stdout, uint64(7*(BlockSize-recordHead)))
	}
	require.LessOrEqual(t, s.places, 12)
	require.LessOrEqual(t, s.taken, 12)
	require.Zero(t, s.extra, "nothing runs")
}

// Logs that never came to a full block stay in memory, which is bounded.
func TestShortLogsOfEndedAttemptsAreBounded(t *testing.T) {
	t.Parallel()
	s := newStore(t, 1, 8, 8)
	const logs = 2000
	for token := range uint64(logs) {
		l := s.Open(Key{Token: token})
		l.Stdout([]byte(strings.Repeat("x", 30<<10)))
		l.End()
		require.LessOrEqual(t, s.memory, maxMemory)
	}
	require.Zero(t, s.places, "nothing was written")
	require.True(t, s.has(logs-1))
	require.False(t, s.has(0))
	require.Less(t, len(s.logs), maxMemory/(30<<10))
}

func TestAWorkerNeedsRoomForTheLogsOfAllItsSlots(t *testing.T) {
	t.Parallel()
	require.NoError(t, (&Config{Slots: 4096}).Check())
	require.NoError(t, (&Config{Slots: 10_000}).Check(), "the default grows with the slots")
	require.ErrorContains(t, (&Config{Slots: 100, Total: 1 << 20}).Check(), "use 26214400 at least")
	require.ErrorContains(t, (&Config{Slots: 1, PerTask: 1000}).Check(), "use 262144 at least")
}

func TestTailBeginsAtALine(t *testing.T) {
	t.Parallel()
	s := newStore(t, 1, 64, 64)
	l := s.Open(Key{Token: 1})
	total := 0
	var lines []string
	for i := range 20_000 {
		line := fmt.Sprintf("line %d\n", i)
		lines = append(lines, line)
		total += len(line)
		l.Stdout([]byte(line))
		if i%10 == 0 {
			l.Stderr([]byte("err\n"))
		}
	}
	settled(t, s, l)
	for _, n := range []int{0, 1, 2, 3, 500, 19_999} {
		want := len(strings.Join(lines[len(lines)-n:], ""))
		require.Equal(t, uint64(total-want), l.Tail(n, OnlyStdout).Stdout, "%d lines", n)
	}
	require.Zero(t, l.Tail(20_000, OnlyStdout))
	require.Zero(t, l.Tail(1<<20, OnlyStdout))
	require.Equal(t, uint64(4*1999), l.Tail(1, OnlyStderr).Stderr)
	l.Stdout([]byte("no end"))
	require.Equal(t, uint64(total), l.Tail(1, OnlyStdout).Stdout, "what has no line end yet is a line")
	require.Equal(t, uint64(total-len(lines[len(lines)-1])), l.Tail(2, OnlyStdout).Stdout)
}

func TestSinceBeginsAtATime(t *testing.T) {
	t.Parallel()
	s := newStore(t, 1, 64, 64)
	begin := time.Unix(1_700_000_000, 0)
	now := begin
	s.now = func() time.Time { return now }
	l := s.Open(Key{Token: 1})
	for range 100 {
		l.Stdout(make([]byte, 10_000))
		now = now.Add(time.Second)
	}
	settled(t, s, l)
	now = now.Add(-time.Second) // that of the last one
	for _, seconds := range []int{0, 1, 5, 50, 99} {
		require.Equal(t, uint64(10_000*(99-seconds)), l.Since(time.Duration(seconds)*time.Second).Stdout, "%d s", seconds)
	}
	require.Zero(t, l.Since(time.Hour))
	now = now.Add(time.Hour)
	require.Equal(t, uint64(1_000_000), l.Since(time.Minute).Stdout)
}

// FuzzRecords: whatever a disk makes of a block, reading it ends.
func FuzzRecords(f *testing.F) {
	b := block{}
	b.add(Stdout, time.Time{}, []byte("abc"))
	b.add(Stderr, time.Time{}, []byte("de"))
	f.Add(b.records)
	f.Add([]byte{0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, records []byte) {
		size := 0
		for rest := records; ; {
			r, next, ok := nextRecord(rest)
			if !ok {
				break
			}
			require.Less(t, len(next), len(rest))
			rest = next
			size += len(r.data)
		}
		require.LessOrEqual(t, size, len(records))
	})
}
