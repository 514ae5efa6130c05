package latency

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	// shortest is the shortest bound, factor by what each bound is longer than the one before, and numBounds how many
	// there are. The longest is more than a minute: before that, a watchdog ends a server whose disk stalls.
	shortest  = 50 * time.Microsecond
	factor    = 1.5
	numBounds = 37
)

// bounds are the bounds of every histogram, the shortest first.
var bounds = func() (list [numBounds]time.Duration) {
	bound := float64(shortest)
	for i := range list {
		list[i] = time.Duration(bound)
		bound *= factor
	}
	return list
}()

// A Histogram counts how often something took how long. The zero value is empty.
type Histogram struct {
	counts [numBounds + 1]atomic.Uint64
	// sum is the bits of a float64, seconds: a million tasks that have waited for a day are more nanoseconds than an integer has.
	sum atomic.Uint64
}

// Add adds one duration. A negative one, as of a clock that was set, counts as 0.
func (h *Histogram) Add(took time.Duration) { h.AddN(took, 1) }

// AddN adds n equal durations.
func (h *Histogram) AddN(took time.Duration, n uint64) {
	took = max(took, 0)
	i := 0
	for i < numBounds && took > bounds[i] {
		i++
	}
	h.counts[i].Add(n)
	more := took.Seconds() * float64(n)
	for {
		old := h.sum.Load()
		if h.sum.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+more)) {
			return
		}
	}
}

// Reading is what a histogram has counted.
type Reading struct {
	Count uint64
	// Seconds is the sum of all durations.
	Seconds float64
	// UpTo is, for each bound, how many durations were no longer.
	UpTo map[time.Duration]uint64
}

// Read returns what was counted so far.
func (h *Histogram) Read() Reading { return h.read(1) }

// ReadCoarse is Read with every third bound, for histograms of which there are many.
func (h *Histogram) ReadCoarse() Reading { return h.read(coarse) }

// coarse is which bounds a coarse reading has.
const coarse = 3

func (h *Histogram) read(every int) Reading {
	out := Reading{Seconds: math.Float64frombits(h.sum.Load()), UpTo: make(map[time.Duration]uint64, numBounds/every+1)}
	for i := range h.counts {
		out.Count += h.counts[i].Load()
		if i < numBounds && i%every == 0 {
			out.UpTo[bounds[i]] = out.Count
		}
	}
	return out
}
