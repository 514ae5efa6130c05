package raftnet

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// vouchPause is the least time between two inquiries, whoever knocks meanwhile.
	vouchPause = time.Second
	// vouchedFor is how long a server is known that others have vouched for. It is asked for
	// anew when half of that is over, so that a long transfer of the state is not cut off.
	vouchedFor = time.Minute
	// maxVouched bounds the servers that are known so, and those that one answer names: more
	// than a cluster has, with room for those that it had.
	maxVouched = 64
)

// vouchers asks the servers that this one knows which servers there are, and in which term.
//
// They are asked at their gRPC addresses: those of the voters of Raft's configuration, and those of the
// join list, which the operator has given. A server without a configuration, which waits for
// a cluster to take it in, knows no others than the latter. Where neither has a server left
// that answers, as when all others were replaced while this one was away, it stays alone
// until it is started with the address of one that is there.
type vouchers struct {
	ctx context.Context
	// ask asks them, and has what they say learned; it ends with its context.
	ask func(ctx context.Context)
	// run runs it in the background.
	run func(func())

	mu      sync.Mutex
	seen    map[raft.ServerID]time.Time
	highest uint64
	last    time.Time
	// running is closed at the end of the inquiry under way; nil: there is none.
	running chan struct{}
}

func newVouchers(ctx context.Context, ask func(ctx context.Context), run func(func())) *vouchers {
	return &vouchers{ctx: ctx, ask: ask, run: run, seen: map[raft.ServerID]time.Time{}}
}

// inquire asks, unless that was done a moment ago. What it returns is closed when the answers
// are there.
func (v *vouchers) inquire() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.running != nil {
		return v.running
	}
	ended := make(chan struct{})
	if v.ctx.Err() != nil || !v.last.IsZero() && time.Since(v.last) < vouchPause {
		close(ended)
		return ended
	}
	v.running = ended
	v.run(func() {
		ctx, cancel := context.WithTimeout(v.ctx, askTimeout)
		defer cancel()
		v.ask(ctx)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.last, v.running = time.Now(), nil
		close(ended)
	})
	return ended
}

// learn notes what a trusted server has said.
func (v *vouchers) learn(term uint64, members ...raft.ServerID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.highest = max(v.highest, term)
	now := time.Now()
	for id, at := range v.seen {
		if now.Sub(at) > vouchedFor {
			delete(v.seen, id)
		}
	}
	for _, id := range members[:min(len(members), maxVouched)] {
		if _, known := v.seen[id]; known || len(v.seen) < maxVouched {
			v.seen[id] = now
		}
	}
}

// know says whether a server was vouched for.
func (v *vouchers) know(id raft.ServerID) bool {
	v.mu.Lock()
	at, ok := v.seen[id]
	v.mu.Unlock()
	age := time.Since(at)
	if !ok || age > vouchedFor {
		return false
	}
	if age > vouchedFor/2 {
		v.inquire()
	}
	return true
}

// term is the highest term that was told of.
func (v *vouchers) term() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.highest
}

// askTrusted asks the servers of Raft's configuration and of the join list which servers
// there are.
func (n *Node) askTrusted(ctx context.Context) {
	servers, err := n.Servers()
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	for _, s := range servers {
		// Anybody can become a server without a vote: its word counts for nothing.
		if s.ID == n.id.raftID() || s.Suffrage != raft.Voter {
			continue
		}
		wg.Go(func() {
			if info, err := n.identify(ctx, s.ID); err == nil {
				n.vouchers.learn(info.Term, info.Members...)
			}
		})
	}
	n.ask(ctx) // see vouchedBy
	wg.Wait()
}

// vouchedBy takes the word of a server of the join list for who belongs to the cluster.
func (n *Node) vouchedBy(p PeerInfo) {
	if own := n.state.Machine().ClusterID(); own != "" && own != p.ClusterID {
		return
	}
	if !n.initialized() {
		// It may be about to make a cluster with this one, and have none yet.
		n.vouchers.learn(p.Term, p.RaftID())
	}
	n.vouchers.learn(p.Term, p.Members...)
}
