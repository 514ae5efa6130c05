package raftnet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// maxTermLeap is how far ahead of all terms that are known here a term may be.
//
// Terms rise by one with each election, and there are 2^64 of them. One message with the last
// one would leave none to elect a leader with, on any server, for good. A server that hears of
// a term further ahead asks the others how far they are, and takes their word for it, so that
// a server may be away for as long as it likes. Leap by leap, it takes 2^48 messages to use
// terms up: centuries.
const maxTermLeap = 1 << 16

var (
	errUnknownSender = errors.New("the server is not part of this cluster, and none of its servers knows it")
	errOurselves     = errors.New("it calls itself by this server's own id")
	errOtherCluster  = errors.New("it is of another cluster")
	errOtherSender   = errors.New("a message says that another server has sent it than the connection does")
	errNotOpen       = errors.New("this server has not started yet")
)

// standing is what raft knows of the cluster.
type standing interface {
	members() []raft.Server
	// leader is the server that this one follows; "": it follows none.
	leader() raft.ServerID
	term() uint64
}

// gate decides whose messages raft gets to see, and which terms.
//
// Raft itself looks at most messages whoever sends them, and must: a follower that was away
// while servers were added may hear from a leader that its configuration does not have. So a
// server is let in that the latest configuration here has, that this server follows already
// (its removal may be on its way), or that one of the servers it does know vouches for: see
// vouchers. One is enough, as servers of the cluster do not lie, and more may not be left.
//
// There is no TLS yet. Who can reach the port and knows the ids of two servers can still pass
// for one of them, and then do what that one could, within the bounds of terms and sizes.
type gate struct {
	self     raft.ServerID
	cluster  func() string
	vouchers *vouchers
	refusals *refusals

	standing atomic.Pointer[standing]
	opened   chan struct{}
}

func newGate(self raft.ServerID, cluster func() string, v *vouchers, r *refusals) *gate {
	return &gate{self: self, cluster: cluster, vouchers: v, refusals: r, opened: make(chan struct{})}
}

// open lets servers in from now on. It is called once.
func (g *gate) open(s standing) {
	g.standing.Store(&s)
	close(g.opened)
}

// admit decides whether a server that has greeted may speak. It may wait for others to vouch
// for it, within ctx.
func (g *gate) admit(ctx context.Context, hello greeting) error {
	select {
	case <-g.opened:
	case <-ctx.Done():
		return errNotOpen
	}
	own := g.cluster()
	switch {
	case hello.meant != g.self:
		return fmt.Errorf("a message for server %q has come to %s, which has its address: a server that lost its data folder joins anew", hello.meant, g.self)
	case hello.from == g.self:
		return errOurselves
	case own != "" && hello.cluster != "" && own != hello.cluster:
		return errOtherCluster
	case g.knows(hello.from):
		return nil
	}
	select {
	case <-g.vouchers.inquire():
	case <-ctx.Done():
	}
	if !g.knows(hello.from) {
		return errUnknownSender
	}
	return nil
}

// check decides whether raft gets to see a message of a server, which was let in once.
func (g *gate) check(from raft.ServerID) error {
	switch {
	case g.standing.Load() == nil:
		return errNotOpen
	case from == g.self:
		return errOurselves
	case g.knows(from):
		return nil
	}
	g.vouchers.inquire()
	return errUnknownSender
}

// knows looks at the leader first: nearly every message is one of its, and to ask raft for the
// members takes memory.
func (g *gate) knows(id raft.ServerID) bool {
	s := *g.standing.Load()
	isMember := func(m raft.Server) bool { return m.ID == id }
	return id != "" && (s.leader() == id || slices.ContainsFunc(s.members(), isMember) || g.vouchers.know(id))
}

// checkTerm refuses a term that is further ahead than elections can have taken it.
func (g *gate) checkTerm(term uint64) error {
	s := g.standing.Load()
	if s == nil {
		return errNotOpen
	}
	known := max((*s).term(), g.vouchers.term())
	if term <= known || term-known <= maxTermLeap {
		return nil
	}
	g.vouchers.inquire()
	return fmt.Errorf("term %d is absurd: the highest that is known here is %d", term, known)
}

// refuse notes that something was refused of a server, by the host that it is at or the id
// that it says it has.
func (g *gate) refuse(host string, id raft.ServerID, err error) {
	g.refusals.note(host, string(id), err)
}

// raftStanding is standing as raft tells it.
type raftStanding struct{ *raft.Raft }

func (r raftStanding) members() []raft.Server { return r.GetConfiguration().Configuration().Servers }

func (r raftStanding) term() uint64 { return r.CurrentTerm() }

func (r raftStanding) leader() raft.ServerID {
	if r.State() != raft.Follower {
		return ""
	}
	_, id := r.LeaderWithID()
	return id
}
