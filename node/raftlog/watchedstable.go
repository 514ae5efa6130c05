package raftlog

import (
	"fmt"
	"runtime"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/store"
)

// currentTerm is raft's key of its term.
const currentTerm = "CurrentTerm"

// spacePause is how often a full disk is tried again.
const spacePause = 100 * time.Millisecond

// watchedStable is where raft keeps its term and vote. Raft panics where it cannot write
// its term. For want of space it waits here instead, and so takes no part in elections,
// until somebody frees some.
type watchedStable struct {
	raft.StableStore
	log    *watchedLog
	fatal  func(error)
	ending <-chan struct{}
}

// SetUint64 implements raft.StableStore.
func (w *watchedStable) SetUint64(key []byte, value uint64) error {
	for {
		err := w.StableStore.SetUint64(key, value)
		if err == nil || string(key) != currentTerm {
			return err // without its vote on disk a server does not vote
		}
		if !store.IsScarce(err) {
			w.fatal(fmt.Errorf("write raft's term: %w", err))
			return err
		}
		w.log.full.Store(true)
		select {
		case <-w.ending:
			// Raft must neither go on without its term nor panic: this goroutine ends.
			runtime.Goexit()
		case <-time.After(spacePause):
		}
	}
}
