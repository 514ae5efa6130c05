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
// Terms rise by one with each election, and there are 2^64 of them. One message with the last one would leave none
// to elect a leader with, on any server, for good. A server that hears of a term further ahead asks the others for
// their terms and believes them, so that a server may be away for as long as it likes. In leaps of this size it
// takes 2^48 messages to use up the terms: centuries.
const maxTermLeap = 1 << 16

var (
	errUnknownSender = errors.New("the server is not part of this cluster, and none of its servers knows it")
	errOurselves     = errors.New("it calls itself by this server's own id")
	errOtherCluster  = errors.New("it is of another cluster")
	errOtherSender   = errors.New("a message says that another server has sent it than the connection does")
	errRemoved       = errors.New("it was removed from this cluster")
	errNotOpen       = errors.New("this server has not started yet")
)

// clusterView is what raft knows of the cluster.
type clusterView interface {
	members() []raft.Server
	// leader is the server that this one follows; "": it follows none.
	leader() raft.ServerID
	term() uint64
}

// admission decides whose messages raft gets to see, and which terms.
//
// Raft itself accepts most messages from any sender, and must: a follower that was away while servers were added may
// hear from a leader that its configuration does not have. So three kinds of servers are let in: those of the latest
// configuration here, the one that this server follows already (its removal may be on its way), and those that a
// server it knows vouches for (see knownServers). One such word is enough: servers of the cluster do not lie, and
// there may be no others left.
//
// With TLS, only who has the certificate of a server comes this far. In plain text, who can reach the port and knows
// the ids of two servers can pass for one of them, and then do what that one could, within the bounds of terms and sizes.
type admission struct {
	self     raft.ServerID
	cluster  func() string
	known    *knownServers
	refusals *refusals
	// removed says whether a server was removed from the cluster.
	removed func(raft.ServerID) bool

	view   atomic.Pointer[clusterView]
	opened chan struct{}
}

func newAdmission(self raft.ServerID, cluster func() string, v *knownServers, r *refusals) *admission {
	return &admission{self: self, cluster: cluster, known: v, refusals: r, removed: func(raft.ServerID) bool { return false }, opened: make(chan struct{})}
}

// open lets servers in from now on. It is called once.
func (a *admission) open(s clusterView) {
	a.view.Store(&s)
	close(a.opened)
}

// admit decides whether a server that has sent its handshake may speak. It may wait for others to vouch
// for it, within ctx.
func (a *admission) admit(ctx context.Context, hello handshake) error {
	select {
	case <-a.opened:
	case <-ctx.Done():
		return errNotOpen
	}
	own := a.cluster()
	switch {
	case hello.meant != a.self:
		return fmt.Errorf("a message for server %q has come to %s, which has its address: a server that lost its data folder joins anew", hello.meant, a.self)
	case hello.from == a.self:
		return errOurselves
	case own != "" && hello.cluster != "" && own != hello.cluster:
		return errOtherCluster
	case a.knows(hello.from):
		return nil
	case a.removed(hello.from):
		return errRemoved
	}
	select {
	case <-a.known.inquire():
	case <-ctx.Done():
	}
	if !a.knows(hello.from) {
		return errUnknownSender
	}
	return nil
}

// checkSender decides whether raft gets to see a message of a server, which was let in once.
func (a *admission) checkSender(from raft.ServerID) error {
	switch {
	case a.view.Load() == nil:
		return errNotOpen
	case from == a.self:
		return errOurselves
	case a.knows(from):
		return nil
	case a.removed(from):
		return errRemoved
	}
	a.known.inquire()
	return errUnknownSender
}

// knows says whether a server may speak. It checks the leader first: nearly every message comes from it, and to ask
// raft for the members takes memory.
func (a *admission) knows(id raft.ServerID) bool {
	s := *a.view.Load()
	isMember := func(m raft.Server) bool { return m.ID == id }
	switch {
	case id == "":
		return false
	case s.leader() == id || slices.ContainsFunc(s.members(), isMember):
		return true
	}
	// Others may have vouched for a server just before it was removed.
	return !a.removed(id) && a.known.know(id)
}

// checkTerm refuses a term that is further ahead than elections can have taken it.
func (a *admission) checkTerm(term uint64) error {
	s := a.view.Load()
	if s == nil {
		return errNotOpen
	}
	known := max((*s).term(), a.known.term())
	if term <= known || term-known <= maxTermLeap {
		return nil
	}
	a.known.inquire()
	return fmt.Errorf("term %d is absurd: the highest that is known here is %d", term, known)
}

// refuse notes that a message of a server was refused, with the host that it is at or the id that it says it has.
func (a *admission) refuse(host string, id raft.ServerID, err error) {
	a.refusals.note(host, string(id), err)
}

// raftView is clusterView as raft tells it.
type raftView struct{ *raft.Raft }

func (r raftView) members() []raft.Server { return r.GetConfiguration().Configuration().Servers }

func (r raftView) term() uint64 { return r.CurrentTerm() }

func (r raftView) leader() raft.ServerID {
	if r.State() != raft.Follower {
		return ""
	}
	_, id := r.LeaderWithID()
	return id
}
