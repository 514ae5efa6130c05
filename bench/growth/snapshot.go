package growth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/bench/stats"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

const (
	snapshotCount   = "snapshots"
	snapshotMax     = "longest snapshot ms"
	snapshotKB      = "KB a snapshot keeps"
	rateWithout     = "tasks/s without"
	writtenWith     = "MB written"
	writtenWithout  = "MB written without"
	probeMax        = "slowest task ms"
	probeMaxWithout = "slowest task ms without"

	// oftenFlag makes servers take snapshots all the time, neverFlag not at all.
	oftenFlag, neverFlag = "--snapshot-bytes=1048576", "--snapshot-bytes=1099511627776"
	snapshotLine         = "msg=snapshot"
)

// snapshot measures the same load with snapshots all the time and with none: what they cost in throughput, bytes
// written, and in the slowest of single tasks beside it, which a pause of the state machine would hold up. What a
// snapshot keeps beside state.db, and how long one takes from the request to the last file, show that it copies no
// state.
func snapshot(ctx context.Context, l *lab, size int) (map[string]float64, error) {
	values := map[string]float64{}
	for _, side := range []struct{ flag, rate, written, slowest string }{
		{neverFlag, rateWithout, writtenWithout, probeMaxWithout},
		{oftenFlag, Throughput, writtenWith, probeMax},
	} {
		if err := l.begin(ctx, setup{flags: []string{side.flag, "--log-level=debug"}}); err != nil {
			return nil, err
		}
		if err := l.finish(ctx, size, l.options.Distinct); err != nil {
			return nil, err
		}
		before, snapshotsBefore, err := l.written()
		if err != nil {
			return nil, err
		}
		probe, slowest := l.probe(ctx)
		rate, err := l.distinct(ctx)
		probe()
		if err != nil {
			return nil, err
		}
		after, snapshotsAfter, err := l.written()
		if err != nil {
			return nil, err
		}
		values[side.rate], values[side.written], values[side.slowest] = rate, (after-before)/mega, slowest()
		if side.flag != oftenFlag {
			continue
		}
		values[snapshotCount] = float64(snapshotsAfter.count - snapshotsBefore.count)
		values[snapshotMax] = float64(snapshotsAfter.longest) / float64(time.Millisecond)
		if values[snapshotKB], err = l.snapshotKB(); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// distinct measures tasks with payloads, which fill the log.
func (l *lab) distinct(ctx context.Context) (float64, error) {
	start := time.Now()
	jobs, err := l.fill(ctx, l.options.Tasks, true)
	if err != nil {
		return 0, err
	}
	for _, j := range jobs {
		if _, err := j.Wait(ctx); err != nil {
			return 0, err
		}
	}
	return float64(l.options.Tasks) / time.Since(start).Seconds(), nil
}

// probe runs single tasks until stop is called; slowest is the time of the slowest, ms.
func (l *lab) probe(ctx context.Context) (stop func(), slowest func() float64) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var times []time.Duration
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			start := time.Now()
			job, err := l.client.Submit(ctx, client.Request{Spec: task.Spec{Handler: noop, Priority: task.MaxPriority}})
			if err != nil {
				return
			}
			if _, err := job.Wait(ctx); err != nil {
				return
			}
			times = append(times, time.Since(start))
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	return stop, func() float64 { return stats.Percentile(times, 100) }
}

// taken is the snapshots that servers have taken.
type taken struct {
	count   int
	longest time.Duration
}

// add counts the snapshots that a log tells of.
func (t *taken) add(log []byte) error {
	for line := range strings.Lines(string(log)) {
		_, rest, ok := strings.Cut(line, snapshotLine)
		if !ok {
			continue
		}
		_, rest, ok = strings.Cut(rest, " took=")
		text, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		took, err := time.ParseDuration(text)
		if !ok || err != nil {
			return fmt.Errorf("the log tells of a snapshot, but not how long it took: %q", line)
		}
		t.count++
		t.longest = max(t.longest, took)
	}
	return nil
}

// written is how much all servers have given to the disk, and the snapshots that they
// have taken.
func (l *lab) written() (written float64, snapshots taken, err error) {
	for _, s := range l.cluster.Servers {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", s.Pid()))
		if err != nil {
			return 0, snapshots, fmt.Errorf("read what %s has written: %w", s.Name, err)
		}
		for line := range strings.Lines(string(data)) {
			text, ok := strings.CutPrefix(line, "write_bytes: ")
			if !ok {
				continue
			}
			n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				return 0, snapshots, err
			}
			written += n
		}
		log, err := os.ReadFile(s.LogFile)
		if err != nil {
			return 0, snapshots, err
		}
		if err := snapshots.add(log); err != nil {
			return 0, snapshots, err
		}
	}
	return written, snapshots, nil
}

// snapshotKB is the most that a server keeps of its newest snapshot.
func (l *lab) snapshotKB() (float64, error) {
	most := 0.0
	for _, s := range l.cluster.Servers {
		files, err := os.ReadDir(l.dataFile(s, "snapshots"))
		if err != nil {
			return 0, err
		}
		sum := 0.0
		for _, f := range files {
			info, err := f.Info()
			if errors.Is(err, os.ErrNotExist) {
				continue // It was replaced just now.
			}
			if err != nil {
				return 0, err
			}
			sum += float64(info.Size()) / kilo
		}
		most = max(most, sum)
	}
	return most, nil
}
