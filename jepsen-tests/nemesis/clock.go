package nemesis

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
)

const (
	// Jumps are at least and at most so long. How long is chosen by its order of magnitude, because a second is as
	// interesting as a month.
	shortestJump, longestJump = time.Millisecond, 365 * 24 * time.Hour
	// strobeEvery is the longest time between two jumps of a strobe.
	strobeEvery = 40 * time.Millisecond
)

// jump is a length of time, ahead or back.
func (h *harm) jump() time.Duration {
	low, high := math.Log(float64(shortestJump)), math.Log(float64(longestJump))
	by := time.Duration(math.Exp(low + h.random.Float64()*(high-low)))
	if h.random.IntN(2) == 0 {
		return -by
	}
	return by
}

// clocks chooses whose clocks are turned: often the leader's, whose time is that of the
// cluster, and at times those of workers too.
func (h *harm) clocks() []*cluster.Process {
	choose := h.some
	if h.random.IntN(2) == 0 {
		choose = h.primary
	}
	victims := processes(choose())
	if h.random.IntN(3) == 0 {
		victims = append(victims, h.someWorkers()...)
	}
	return victims
}

func clockBump(_ context.Context, h *harm) error {
	for _, p := range h.clocks() {
		by := h.jump()
		p.Clock.Set(by)
		h.targets = append(h.targets, p.Name+" by "+by.Round(time.Millisecond).String())
		h.effect++
	}
	return nil
}

// clockStrobe turns clocks to and fro until it is healed.
func clockStrobe(_ context.Context, h *harm) error {
	stop := make(chan struct{})
	var turning sync.WaitGroup
	turns := make([]int64, len(h.cluster.Processes()))
	for i, p := range h.clocks() {
		by := h.jump()
		every := time.Millisecond + time.Duration(h.random.Int64N(int64(strobeEvery)))
		h.targets = append(h.targets, p.Name+" by "+by.Round(time.Millisecond).String())
		turning.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				turns[i]++
				p.Clock.Set(by * time.Duration(turns[i]%2))
			}
		})
	}
	h.undo = append(h.undo, func(context.Context) error {
		close(stop)
		turning.Wait()
		for _, n := range turns {
			h.effect += n
		}
		return nil
	})
	return nil
}
