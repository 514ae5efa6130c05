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
	// inquiryTimeout bounds an inquiry.
	inquiryTimeout = time.Second
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
	// ask asks them, and has what they say learned; it ends with its context.
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

func newVouchers(ask func(ctx context.Context)) *vouchers {
	v := &vouchers{ask: ask, seen: map[raft.ServerID]time.Time{}}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	return v
}

// close ends the inquiry under way, and waits for that. There is none afterwards.
func (v *vouchers) close() {
	v.mu.Lock()
	v.cancel()
	v.mu.Unlock()
	v.asking.Wait()
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
	v.asking.Go(func() {
		ctx, cancel := context.WithTimeout(v.ctx, inquiryTimeout)
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
