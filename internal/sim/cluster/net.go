package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// Network carries the messages between servers, clients and workers.
type Network struct {
	mu     sync.Mutex
	random *rand.Rand
	// cut is the links that lose everything, one way each.
	cut map[link]struct{}
	// slow is what a link takes longer.
	slow map[link]time.Duration
	// loss is the share of messages that are lost, on any link.
	loss float64
	// intercept, if set, sees each message of raft first.
	intercept Intercept

	raft map[string]*transport
	// lost counts messages that did not arrive.
	lost int
}

// link is one way between two endpoints.
type link struct{ from, to string }

// Intercept sees a message of raft before it is sent; answer says that it is the answer to
// one. It may wait, within the sender's timeout, and returns whether the message goes on.
type Intercept func(ctx context.Context, from, to string, answer bool) bool

const (
	// fastest and jitter bound what a message takes on a healthy link.
	fastest = 200 * time.Microsecond
	jitter  = 800 * time.Microsecond
)

var errLost = errors.New("sim: the message was lost")

func newNetwork(random *rand.Rand) *Network {
	return &Network{random: random, cut: map[link]struct{}{}, slow: map[link]time.Duration{}, raft: map[string]*transport{}}
}

// carry takes as long as a message from one endpoint to another does. If the message is lost, it returns at once:
// the sender decides how long it waits.
func (n *Network) carry(ctx context.Context, from, to string) error {
	n.mu.Lock()
	l := link{from, to}
	_, lost := n.cut[l]
	lost = lost || n.loss > 0 && n.random.Float64() < n.loss
	delay := fastest + n.slow[l] + time.Duration(n.random.Int64N(int64(jitter)))
	if lost {
		n.lost++
	}
	n.mu.Unlock()
	if lost {
		return errLost
	}
	return sleep(ctx, delay)
}

// sleep waits for d, or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CutOff cuts the ways between the endpoints of two sides, both ways.
func (n *Network) CutOff(a, b []string) {
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// CutOneWay cuts the ways from one side to the other.
func (n *Network) CutOneWay(from, to []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range from {
		for _, y := range to {
			if x != y {
				n.cut[link{x, y}] = struct{}{}
			}
		}
	}
}

// SetLoss sets the share of messages that are lost.
func (n *Network) SetLoss(share float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = share
}

// SetSlow makes the ways from one side to the other take longer.
func (n *Network) SetSlow(from, to []string, by time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range from {
		for _, y := range to {
			n.slow[link{x, y}] = by
		}
	}
}

// Heal makes every link whole and fast.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	clear(n.slow)
	n.loss = 0
}

// SetIntercept sets who sees raft's messages first; nil: nobody.
func (n *Network) SetIntercept(f Intercept) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.intercept = f
}

func (n *Network) intercepted(ctx context.Context, from, to string, answer bool) bool {
	n.mu.Lock()
	f := n.intercept
	n.mu.Unlock()
	return f == nil || f(ctx, from, to, answer)
}

func (n *Network) attach(t *transport) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.raft[t.addr] = t
}

func (n *Network) detach(t *transport) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.raft[t.addr] == t {
		delete(n.raft, t.addr)
	}
}

func (n *Network) transportAt(addr string) *transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.raft[addr]
}

// Lost returns how many messages did not arrive.
func (n *Network) Lost() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost
}
