package node

import (
	"sync/atomic"
	"time"
)

const (
	// The shortest bound of a Latency, and by how much each is longer than the one before: up
	// to two minutes, beyond which a watchdog has ended the server.
	shortestBound = 50 * time.Microsecond
	boundFactor   = 1.5
	latencyBounds = 37
)

// latency counts how long something took. It may be read while it is counted.
type latency struct {
	counts [latencyBounds + 1]atomic.Uint64
	sum    atomic.Int64
}

// bounds is the bounds of a latency, shortest first.
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

// Latency is how often something took how long.
type Latency struct {
	Count uint64
	Sum   time.Duration
	// UpTo is how often it took no longer than each of these bounds.
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
