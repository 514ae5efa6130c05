package node

import (
	"sync/atomic"
	"time"
)

const (
	// The shortest bound of a Latency, by what factor each bound is longer than the one before, and how many
	// there are. The longest is two minutes; before that, a watchdog ends the server.
	shortestBound = 50 * time.Microsecond
	boundFactor   = 1.5
	latencyBounds = 37
)

// latency is a histogram of how long something took. It may be read while others add to it.
type latency struct {
	counts [latencyBounds + 1]atomic.Uint64
	sum    atomic.Int64
}

// bounds are the bounds of a latency, the shortest first.
var bounds = func() (list [latencyBounds]time.Duration) {
	bound := float64(shortestBound)
	for i := range list {
		list[i] = time.Duration(bound)
		bound *= boundFactor
	}
	return list
}()

func (l *latency) add(took time.Duration) {
	i := 0
	for i < latencyBounds && took > bounds[i] {
		i++
	}
	l.counts[i].Add(1)
	l.sum.Add(int64(took))
}

// Latency is a histogram of how long something took.
type Latency struct {
	Count uint64
	Sum   time.Duration
	// UpTo is, for each bound, how often it took no longer than that.
	UpTo map[time.Duration]uint64
}

func (l *latency) read() Latency {
	out := Latency{Sum: time.Duration(l.sum.Load()), UpTo: make(map[time.Duration]uint64, latencyBounds)}
	for i := range l.counts {
		out.Count += l.counts[i].Load()
		if i < latencyBounds {
			out.UpTo[bounds[i]] = out.Count
		}
	}
	return out
}
