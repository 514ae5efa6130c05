package raftnet

import (
	"sync"

	"github.com/hashicorp/raft"
)

// Bounds of how much of the log one message to a server has, bytes. The first message has firstBatch.
const (
	minBatch   = 16 << 10
	firstBatch = 256 << 10
	maxBatch   = 4 << 20
)

// batchSizes is how much of the log each server gets at once.
//
// Raft bounds a message by its number of entries, and gives it a second to arrive, whatever its size. A server on a
// slow link or disk that is behind would get the same message for ever, each time too large for its second. So a
// message that fails is followed by one of half the size, down to a single entry, and one that is accepted is
// followed by a larger one.
type batchSizes struct {
	mu      sync.Mutex
	batches map[raft.ServerID]int64
}

func newBatchSizes() *batchSizes { return &batchSizes{batches: map[raft.ServerID]int64{}} }

func (s *batchSizes) batch(id raft.ServerID) int64 {
	if b, ok := s.batches[id]; ok {
		return b
	}
	return firstBatch
}

// limit removes from a message what is too much. Raft sends that next.
func (s *batchSizes) limit(id raft.ServerID, r *raft.AppendEntriesRequest) {
	s.mu.Lock()
	left := s.batch(id)
	s.mu.Unlock()
	for i, e := range r.Entries {
		if left -= EntrySize(e); left < 0 && i > 0 {
			r.Entries = r.Entries[:i]
			return
		}
	}
}

// sent notes whether a message was taken.
func (s *batchSizes) sent(id raft.ServerID, r *raft.AppendEntriesRequest, taken bool) {
	if len(r.Entries) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch b := s.batch(id); {
	case !taken:
		s.batches[id] = max(b/2, minBatch)
	case b < maxBatch:
		s.batches[id] = b * 2
	}
}

// entryOverhead is about what an entry of the log takes beside its data, bytes.
const entryOverhead = 32

// EntrySize is about what an entry of the log takes, bytes.
func EntrySize(l *raft.Log) int64 { return int64(len(l.Data)) + entryOverhead }
