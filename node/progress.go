package node

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// maxHeldLog bounds the log that is kept for servers that need it, bytes. It is also
	// bounded by a quarter of the space that is left.
	maxHeldLog = 1 << 30
	// heldSlack is for entries that come while a snapshot is taken: raft counts back from
	// the last one there is when it drops the log.
	heldSlack = 1000
	// heldAfterInstall is how long the log behind a state is kept for the server that was
	// sent it: it checks the state and takes it over.
	heldAfterInstall = 30 * time.Second
	// heldAfterAnswer is how long the log is kept for a server that has answered.
	heldAfterAnswer = 2 * time.Second
)

// progress is how far each other server has come with the log, by what it has answered to
// this one while it led.
//
// Raft drops all log but the newest, whatever the others need. A server that takes the
// whole state over needs what follows it next, and where the others have dropped that
// meanwhile, it needs the state again: under load, or with a large state, it never catches
// up. So what servers need that are on their way is kept, within bounds.
type progress struct {
	mu      sync.Mutex
	servers map[raft.ServerID]*place
}

// place is how far a server has come.
type place struct {
	index uint64
	// until is until when what follows is kept for it.
	until time.Time
	// installs is how many states are on their way to it.
	installs int
}

func newProgress() *progress { return &progress{servers: map[raft.ServerID]*place{}} }

func (p *progress) at(id raft.ServerID) *place {
	s := p.servers[id]
	if s == nil {
		s = &place{}
		p.servers[id] = s
	}
	return s
}

// has notes that a server has the log up to an index.
func (p *progress) has(id raft.ServerID, index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.at(id)
	s.index = index
	s.extend(heldAfterAnswer)
}

func (s *place) extend(by time.Duration) {
	if until := time.Now().Add(by); until.After(s.until) {
		s.until = until
	}
}

// installing notes that a server is sent the state as of an index. What it returns is to be
// called when that has ended.
func (p *progress) installing(id raft.ServerID, index uint64) (ended func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.at(id)
	s.index = index
	s.installs++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		s.installs--
		s.extend(heldAfterInstall)
	}
}

// needed returns the index behind which some server needs the log; ok is false where none
// is known to.
func (p *progress) needed() (index uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for id, s := range p.servers {
		switch {
		case s.installs == 0 && now.After(s.until):
			delete(p.servers, id)
		case !ok || s.index < index:
			index, ok = s.index, true
		}
	}
	return index, ok
}

// lastOf is the last index that a server has which has accepted a request.
func lastOf(r *raft.AppendEntriesRequest) uint64 {
	if n := len(r.Entries); n > 0 {
		return r.Entries[n-1].Index
	}
	return r.PrevLogEntry
}

// trailing is how many entries are kept behind a snapshot, of an average size in bytes: by
// the configuration, or more where another server is on its way and needs them.
func (n *Node) trailing(average int64) int64 {
	keep := max(1, n.cfg.TrailingBytes/average)
	needed, ok := n.progress.needed()
	last := n.raft.LastIndex()
	if !ok || needed >= last || n.raft.State() != raft.Leader {
		return keep
	}
	lacks := 2*int64(last-needed) + heldSlack
	if lacks > min(maxHeldLog, freeBytes(n.cfg.DataDir)/4)/average {
		return keep // what it needs is too much: it has to take the state over
	}
	return max(keep, lacks)
}
