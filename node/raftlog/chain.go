package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm"
)

const (
	// linkMark begins the extension of an entry that names the one before it.
	linkMark = 1
	// linkBytes is that, an index and a term.
	linkBytes = 1 + 8 + 8
)

// Chain has a leader write into each entry which one the state machine sees before it.
//
// The state machine does not see all entries of the log, so it cannot tell from an index
// alone that one is missing: where a server took itself for further than it was, it went on
// behind the gap and led with a state that nobody else had. The name travels with the entry,
// and Apply compares it with what was applied last. No-ops and barriers have it too: they
// say what is to be applied before them, and where the chain is found at a start.
//
// Entries of versions that knew no such names have none, and pass.
type Chain struct {
	raft.LogStore
	// applied is the last entry in the state machine, snapshot the index of the newest snapshot.
	applied  func() fsm.Place
	snapshot func() uint64

	mu sync.Mutex
	// last is the last entry of the log that the state machine sees, where known is true.
	last  fsm.Place
	known bool
}

// Sees says whether the state machine is given an entry.
func Sees(l *raft.Log) bool {
	return l.Type == raft.LogCommand || l.Type == raft.LogConfiguration
}

// PlaceOf is where an entry stands.
func PlaceOf(l *raft.Log) fsm.Place { return fsm.Place{Index: l.Index, Term: l.Term} }

// EncodePrevious is the extension of an entry behind prev.
func EncodePrevious(prev fsm.Place) []byte {
	b := append(make([]byte, 0, linkBytes), linkMark)
	b = binary.BigEndian.AppendUint64(b, prev.Index)
	return binary.BigEndian.AppendUint64(b, prev.Term)
}

// Previous returns the entry that an entry names as the one before it; named is false where it names nothing.
func Previous(l *raft.Log) (prev fsm.Place, named bool, err error) {
	b := l.Extensions
	switch {
	case len(b) == 0:
		return fsm.Place{}, false, nil
	case len(b) != linkBytes || b[0] != linkMark:
		return fsm.Place{}, false, fmt.Errorf("log entry %d has an extension that this build does not know: use the version of rota that wrote it", l.Index)
	}
	return fsm.Place{Index: binary.BigEndian.Uint64(b[1:]), Term: binary.BigEndian.Uint64(b[9:])}, true, nil
}

// StoreLog implements raft.LogStore.
func (c *Chain) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. The entries of a leader have no names yet, and nobody
// but raft's main loop has seen them.
func (c *Chain) StoreLogs(logs []*raft.Log) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.find(); err != nil {
		return err
	}
	last := c.last
	if applied := c.applied(); applied.Index > last.Index {
		last = applied // a received snapshot is ahead of the log
	}
	for _, l := range logs {
		if len(l.Extensions) == 0 {
			l.Extensions = EncodePrevious(last)
		}
		if Sees(l) {
			last = PlaceOf(l)
		}
	}
	if err := c.LogStore.StoreLogs(logs); err != nil {
		return err
	}
	c.last = last
	return nil
}

// DeleteRange implements raft.LogStore.
func (c *Chain) DeleteRange(first, last uint64) error {
	end, err := c.LastIndex()
	if err != nil {
		return err
	}
	err = c.LogStore.DeleteRange(first, last)
	if last >= end {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.known = false
	}
	return err
}

// find looks for the last entry that the state machine sees, unless it is known. c.mu is held.
func (c *Chain) find() error {
	if c.known {
		return nil
	}
	last, err := c.LastIndex()
	if err != nil {
		return err
	}
	prev, found, err := LastSeen(c.LogStore, c.snapshot()+1, last)
	if err != nil {
		return err
	}
	if !found {
		// All that was before these entries is applied: snapshots say so.
		prev = c.applied()
	}
	c.last, c.known = prev, true
	return nil
}

// LastSeen finds the last entry that the state machine sees among those of a log from last
// down to first; found is false where no entry tells.
func LastSeen(log raft.LogStore, first, last uint64) (prev fsm.Place, found bool, err error) {
	for i := last; i >= max(1, first); i-- {
		var l raft.Log
		if err := log.GetLog(i, &l); errors.Is(err, raft.ErrLogNotFound) {
			break
		} else if err != nil {
			return fsm.Place{}, false, err
		}
		if Sees(&l) {
			return PlaceOf(&l), true, nil
		}
		if prev, found, err := Previous(&l); found || err != nil {
			return prev, found, err
		}
	}
	return fsm.Place{}, false, nil
}
