package raftnet

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// inquiryPause is the least time between two inquiries, whoever connects meanwhile.
	inquiryPause = time.Second
	// inquiryTimeout bounds an inquiry.
	inquiryTimeout = time.Second
	// knownFor is how long the word of others for a server counts. They are asked again when half of that time is
	// over, so that a long transfer of the state is not cut off.
	knownFor = time.Minute
	// maxKnown bounds the servers that are known in this way, and those that one answer names: more than a cluster
	// has, with room for those that it had.
	maxKnown = 64
)

// knownServers asks the servers that this one knows which servers there are, and in which term.
//
// They are asked at their gRPC addresses: those of the voters of Raft's configuration, and those of the join list,
// which the operator has given. A server without a configuration, which waits for a cluster to take it in, knows
// only the latter. If no server of either kind answers, as when all others were replaced while this one was away, it
// stays alone until it is started with the address of a server that is there.
type knownServers struct {
	// ask asks them, and learns what they say; it ends with its context.
	ask    func(ctx context.Context)
	ctx    context.Context
	cancel context.CancelFunc
	asking sync.WaitGroup

	mu      sync.Mutex
	seen    map[raft.ServerID]time.Time
	highest uint64
	last    time.Time
	// running is closed at the end of the inquiry under way; nil: there is none.
	running chan struct{}
}

func newKnownServers(ask func(ctx context.Context)) *knownServers {
	k := &knownServers{ask: ask, seen: map[raft.ServerID]time.Time{}}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// close ends the inquiry under way, and waits for that. There is none afterwards.
func (k *knownServers) close() {
	k.mu.Lock()
	k.cancel()
	k.mu.Unlock()
	k.asking.Wait()
}

// inquire asks, unless that was done a moment ago. What it returns is closed when the answers
// are there.
func (k *knownServers) inquire() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running != nil {
		return k.running
	}
	ended := make(chan struct{})
	if k.ctx.Err() != nil || !k.last.IsZero() && time.Since(k.last) < inquiryPause {
		close(ended)
		return ended
	}
	k.running = ended
	k.asking.Go(func() {
		ctx, cancel := context.WithTimeout(k.ctx, inquiryTimeout)
		defer cancel()
		k.ask(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.last, k.running = time.Now(), nil
		close(ended)
	})
	return ended
}

// learn notes what a trusted server has said.
func (k *knownServers) learn(term uint64, members ...raft.ServerID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.highest = max(k.highest, term)
	now := time.Now()
	for id, at := range k.seen {
		if now.Sub(at) > knownFor {
			delete(k.seen, id)
		}
	}
	for _, id := range members[:min(len(members), maxKnown)] {
		if _, known := k.seen[id]; known || len(k.seen) < maxKnown {
			k.seen[id] = now
		}
	}
}

// know says whether a server was vouched for.
func (k *knownServers) know(id raft.ServerID) bool {
	k.mu.Lock()
	at, ok := k.seen[id]
	k.mu.Unlock()
	age := time.Since(at)
	if !ok || age > knownFor {
		return false
	}
	if age > knownFor/2 {
		k.inquire()
	}
	return true
}

// term is the highest term that was learned.
func (k *knownServers) term() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.highest
}
