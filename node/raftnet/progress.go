package raftnet

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// heldFor is how long the log is kept for a server that answers heartbeats, and has
// neither taken entries nor been sent the state meanwhile: it may be busy with either.
const heldFor = 30 * time.Second

// progress is how much of the log each other server has, by what it has accepted from this one while it led.
//
// Raft drops all log but the newest, whatever the others need. A server that takes the whole state over needs the
// entries after it next. If the leader has dropped them in the meantime, the server needs the state again: under
// load, or with a large state, it never catches up. So the log that such servers need is kept, within bounds.
type progress struct {
	mu      sync.Mutex
	servers map[raft.ServerID]*position
}

// position is how far a server has come.
type position struct {
	index uint64
	// until is when the place is forgotten.
	until time.Time
	// installs is how many states are on their way to it.
	installs int
}

func newProgress() *progress { return &progress{servers: map[raft.ServerID]*position{}} }

func (p *progress) at(id raft.ServerID, index uint64) *position {
	s := p.servers[id]
	if s == nil {
		s = &position{}
		p.servers[id] = s
	}
	s.index, s.until = index, time.Now().Add(heldFor)
	return s
}

// has notes that a server has the log up to an index.
func (p *progress) has(id raft.ServerID, index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at(id, index)
}

// installing notes that a server is sent the state as of an index. Call ended when the transfer has ended: the
// server may still be taking the state over then.
func (p *progress) installing(id raft.ServerID, index uint64) (ended func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.at(id, index)
	s.installs++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		s.installs--
		s.until = time.Now().Add(heldFor)
	}
}

// trailing is how many entries before last to keep: keep, and before those what other servers need. No entries are
// kept for a server that needs more than limit, nor for one that is away, unless it is being sent the state.
func (p *progress) trailing(keep, last, limit uint64, away func(raft.ServerID) bool) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	needed := last
	for id, s := range p.servers {
		switch {
		case s.installs == 0 && now.After(s.until):
			delete(p.servers, id)
		case s.installs == 0 && away(id), s.index+limit < last:
		default:
			needed = min(needed, s.index)
		}
	}
	return keep + last - needed
}

// lastOf is the last index that a server has which has accepted a request.
func lastOf(r *raft.AppendEntriesRequest) uint64 {
	if n := len(r.Entries); n > 0 {
		return r.Entries[n-1].Index
	}
	return r.PrevLogEntry
}
