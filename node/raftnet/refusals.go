package raftnet

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// refusalPause is how often a peer has a line in the log, at most, whatever it sends.
	refusalPause = time.Minute
	// maxRefused bounds the peers that have a line of their own; all others share one.
	maxRefused = 64
)

// refusals notes what was refused on raft's port: a line for each peer at once, and then one a
// minute with a count.
type refusals struct {
	log   *slog.Logger
	total atomic.Int64

	mu     sync.Mutex
	closed bool
	peers  map[string]*refusedPeer
}

// refusedPeer is what was refused of one peer since its last line.
type refusedPeer struct {
	count int
	id    string
	err   error
	next  *time.Timer
}

func newRefusals(log *slog.Logger) *refusals {
	return &refusals{log: log, peers: map[string]*refusedPeer{}}
}

// note notes that a message of a peer at a host was refused. id is what the peer says it is.
func (r *refusals) note(host, id string, err error) {
	r.total.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	p := r.peers[host]
	if p == nil && len(r.peers) >= maxRefused {
		host = "others"
		p = r.peers[host]
	}
	if p != nil {
		p.count, p.id, p.err = p.count+1, id, err
		return
	}
	r.say(host, id, 1, err)
	r.peers[host] = &refusedPeer{next: time.AfterFunc(refusalPause, func() { r.again(host) })}
}

// again says what was refused since, or forgets about the peer.
func (r *refusals) again(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.peers[host]
	switch {
	case r.closed || p == nil:
	case p.count == 0:
		delete(r.peers, host)
	default:
		r.say(host, p.id, p.count, p.err)
		p.count = 0
		p.next.Reset(refusalPause)
	}
}

func (r *refusals) say(host, id string, count int, err error) {
	r.log.Warn("refused on the Raft port", "from", host, "says_it_is", id, "count", count, "error", err)
}

func (r *refusals) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, p := range r.peers {
		p.next.Stop()
	}
}
