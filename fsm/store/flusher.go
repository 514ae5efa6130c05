package store

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/rota-scheduler/rota/internal/latency"
)

const (
	// FlushInterval is how long a change may stay off the disk of state.db. The log
	// has it; this bounds what a restart replays.
	FlushInterval = 100 * time.Millisecond
	// flushBytes starts a flush early.
	flushBytes = 4 << 20
	// behindBytes is how much may wait for a flush before a leader has nothing ended that can wait: some
	// entries of that, and far less than PushBackBytes.
	behindBytes = 16 << 20
	// PushBackBytes is how much may wait for a flush before submits are refused.
	PushBackBytes = 64 << 20
	// stopBytes is how much may wait before Apply does, too.
	stopBytes = 256 << 20
)

// Flusher writes a State behind. It is its only writer.
type Flusher struct {
	state *State
	kick  chan struct{}
	// freed gets a value after each flush.
	freed chan struct{}
	full  atomic.Bool
}

// NewFlusher returns a flusher; Run makes it work.
func NewFlusher(s *State) *Flusher {
	return &Flusher{state: s, kick: make(chan struct{}, 1), freed: make(chan struct{}, 1)}
}

// Run flushes until ctx ends or a write fails. After a failed write the process must
// end: what the disk holds is not known any more, and is found out at the next start.
func (f *Flusher) Run(ctx context.Context) error {
	tick := time.NewTicker(FlushInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-f.kick:
		}
		err := f.state.Flush()
		f.full.Store(IsScarce(err))
		if err != nil && !IsScarce(err) {
			return err
		}
		select {
		case f.freed <- struct{}{}:
		default:
		}
	}
}

// Applied is called after each batch of entries. It starts a flush early when much
// waits, and blocks while far too much does, until ctx ends.
func (f *Flusher) Applied(ctx context.Context) {
	for {
		dirty, flushing := f.state.Machine().Pending()
		if dirty >= flushBytes {
			select {
			case f.kick <- struct{}{}:
			default:
			}
		}
		if dirty+flushing < stopBytes {
			return
		}
		select {
		case <-f.freed:
		case <-ctx.Done():
			return
		}
	}
}

// Overloaded says that so much waits that submits should be refused.
func (f *Flusher) Overloaded() bool {
	dirty, flushing := f.state.Machine().Pending()
	return dirty+flushing > PushBackBytes
}

// Behind says that so much waits that the disk has enough to do for the moment.
func (f *Flusher) Behind() bool {
	dirty, flushing := f.state.Machine().Pending()
	return dirty+flushing > behindBytes
}

// Latency is how long flushes have taken since the start, with their syncs.
func (f *Flusher) Latency() latency.Reading { return f.state.flushed.Read() }

// Full says that the last flush found no space on the disk, or no descriptor.
func (f *Flusher) Full() bool { return f.full.Load() }
