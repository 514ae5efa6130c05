package store

import (
	"context"
	"errors"
	"flag"
	"io"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

var (
	stateGiB = flag.Float64("state-gib", 0.05, "how large the state of BenchmarkApplyWhileTheStateIsSent is, GiB")
	linkMiBs = flag.Float64("link-mib", 100, "how fast it is sent, MiB/s")
)

// BenchmarkApplyWhileTheStateIsSent makes a large state, and applies jobs with payloads at an even pace: first while
// nothing else happens, then while a follower takes the state over through a slow link. It reports how long Apply
// takes at most for half of the entries and for 99 of a hundred, and by how much the file has grown. For a state of
// more than 8 GiB:
//
//	go test ./fsm/store -run '^$' -bench WhileTheStateIsSent -benchtime 1x -timeout 1h -state-gib 9 -link-mib 150
func BenchmarkApplyWhileTheStateIsSent(b *testing.B) {
	leader, follower := newBundle(b), newBundle(b)
	from, to := openSnapshots(b, leader), openSnapshots(b, follower)
	for leader.s.FileSize() < int64(*stateGiB*(1<<30)) {
		for range 8 {
			leader.submit(&logpb.Submit{Tasks: packed(256, 16<<10)}, &task.Spec{Handler: "h"})
		}
		require.NoError(b, leader.s.Flush())
	}
	before := leader.s.FileSize()
	id := take(b, leader, from)
	f := NewFlusher(leader.s)
	ctx, cancel := context.WithCancel(b.Context())
	flushed := make(chan error, 1)
	go func() { flushed <- f.Run(ctx) }()
	for b.Loop() {
		quiet := applyUntil(ctx, leader, f, time.After(10*time.Second))
		done, began, sent := make(chan struct{}), time.Now(), time.Duration(0)
		var err error
		go func() {
			defer close(done)
			err = handOver(from, id, to)
			sent = time.Since(began)
		}()
		busy := applyUntil(ctx, leader, f, done)
		require.NoError(b, err)
		at, ok := to.Newest()
		require.True(b, ok)
		require.Equal(b, at.StateIndex, follower.s.Machine().AppliedIndex())
		b.ReportMetric(sent.Seconds(), "sent-s")
		b.ReportMetric(share(quiet, 50), "p50-us")
		b.ReportMetric(share(quiet, 99), "p99-us")
		b.ReportMetric(share(busy, 50), "sending-p50-us")
		b.ReportMetric(share(busy, 99), "sending-p99-us")
		b.ReportMetric(float64(before)/(1<<30), "GiB-before")
		b.ReportMetric(float64(leader.s.FileSize())/(1<<30), "GiB-after")
	}
	cancel()
	require.NoError(b, <-flushed)
}

// handOver sends a state through the slow link, and the receiver takes it over.
func handOver(from *Snapshots, id string, to *Snapshots) error {
	meta, r, err := from.Open(id)
	if err != nil {
		return err
	}
	sink, err := to.Create(meta.Version, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(sink, &slowReader{r: r, began: time.Now()}); err != nil {
		return err
	}
	if err := errors.Join(r.Close(), sink.Close()); err != nil {
		return err
	}
	return to.TakeOver()
}

// applyUntil applies a job of 16 tasks with 4 KiB each 100 times a second, and returns how long
// each took.
func applyUntil[T any](ctx context.Context, b *testBundle, f *Flusher, end <-chan T) (took []time.Duration) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-end:
			return took
		case <-tick.C:
		}
		began := time.Now()
		b.submit(&logpb.Submit{Tasks: packed(16, 4<<10)}, &task.Spec{Handler: "h"})
		f.Applied(ctx)
		took = append(took, time.Since(began))
	}
}

// share is the time that the given percentage does not exceed, us.
func share(took []time.Duration, percent int) float64 {
	slices.Sort(took)
	return float64(took[len(took)*percent/100].Microseconds())
}

// slowReader reads no faster than the link is.
type slowReader struct {
	r     io.Reader
	began time.Time
	read  int64
}

// Read implements io.Reader.
func (s *slowReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.read += int64(n)
	time.Sleep(time.Until(s.began.Add(time.Duration(float64(s.read) / (*linkMiBs * (1 << 20)) * float64(time.Second)))))
	return n, err
}

// A server that starts allocates no slots for tasks that have ended, even if their job goes on. A slot takes 32
// bytes.
func TestLoadingALargeJobTakesLittleMemory(t *testing.T) {
	b := newBundle(t) // alone: it measures the memory of the process
	const done = 1_000_000
	id := b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 2 * done}}, &task.Spec{Handler: "h"})
	b.reportAll(id, done, 1000)
	runtime.GC() // a sync.Pool lets go of what it keeps at the second collection
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.reopen()
	runtime.ReadMemStats(&after)
	require.Less(t, (after.TotalAlloc-before.TotalAlloc)/done, uint64(32), "bytes a task, a slot")
	require.Empty(t, b.s.Machine().CheckInvariants())
	_, final, known := b.s.Machine().Cursor(id, done-fsm.PageTasks)
	require.True(t, final && !known, "the disk knows")
	_, final, known = b.s.Machine().Cursor(id, done)
	require.True(t, !final && known)
}
