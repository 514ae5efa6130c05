package cluster

import (
	"errors"
	"sync"

	"github.com/hashicorp/raft"
)

// Stores is a server's log and stable store. They outlive the server: what they were given
// is on the disk. They keep the beginning of the log when raft drops it, so that the
// whole history can be looked at in the end.
type Stores struct {
	*raft.InmemStore

	mu      sync.Mutex
	dropped []*raft.Log
}

// NewStores returns empty stores.
func NewStores() *Stores { return &Stores{InmemStore: raft.NewInmemStore()} }

// DeleteRange implements raft.LogStore.
func (s *Stores) DeleteRange(first, last uint64) error {
	low, err1 := s.FirstIndex()
	high, err2 := s.LastIndex()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if first <= low && last < high {
		s.mu.Lock()
		s.each(low, last, func(l *raft.Log) { s.dropped = append(s.dropped, l) })
		s.mu.Unlock()
	}
	return s.InmemStore.DeleteRange(first, last)
}

func (s *Stores) each(first, last uint64, f func(*raft.Log)) {
	for i := max(1, first); i <= last; i++ {
		l := &raft.Log{}
		if s.GetLog(i, l) == nil {
			f(l)
		}
	}
}

// History calls f for every entry up to an index that was ever on this server's disk and
// not taken back. Those that came as part of a snapshot are not among them.
func (s *Stores) History(to uint64, f func(*raft.Log)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.dropped {
		f(l)
	}
	if low, err := s.FirstIndex(); err == nil {
		s.each(low, to, f)
	}
}
