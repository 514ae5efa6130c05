package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

const (
	// announceEvery is how often a server looks whether the cluster knows where it is. While
	// it does not, the server asks the leader to record it as often, and each time that it is
	// refused the pause doubles, up to announceMax.
	announceEvery = 200 * time.Millisecond
	announceMax   = 2 * time.Second
	// announceQuiet is how long that may last before it is worth a line in the log, and
	// announceAgain how often it is said while it lasts.
	announceQuiet = 2 * time.Second
	announceAgain = time.Minute
)

// selfRecord is this server's own record, but for what the leader decides.
func (n *Node) selfRecord() *logpb.ServerRecord {
	return &logpb.ServerRecord{
		NodeId: n.id.NodeID, ServerId: n.id.ServerID, Addr: n.cfg.Addr, PeerAddr: n.cfg.PeerAddr, HttpAddr: n.cfg.HTTPAddr, Version: n.cfg.Version,
	}
}

// sameRecord says whether two records tell the same of a server, but for what the leader
// decides.
func sameRecord(a, b *logpb.ServerRecord) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	a.Vote, b.Vote = false, false
	return proto.Equal(a, b)
}

// misplaced says what the cluster has got wrong about this server; "": nothing. What is
// urgent keeps this server from doing its part.
func (n *Node) misplaced() (what string, urgent bool) {
	servers, err := n.Servers()
	if err != nil || n.raft.State() == raft.Leader {
		return "", false // a leader records itself
	}
	return n.misplacedAmong(servers)
}

// misplacedAmong is misplaced by what a configuration says.
func (n *Node) misplacedAmong(servers []raft.Server) (what string, urgent bool) {
	self, known := member(servers, n.id.raftID())
	rec := n.record(n.id.raftID())
	switch {
	case known && string(self.Address) != n.cfg.PeerAddr:
		where := "Raft " + string(self.Address)
		if rec != nil {
			where = fmt.Sprintf("%s (%s)", rec.Addr, where)
		}
		return fmt.Sprintf("this server is at %s (Raft %s), the cluster knows it at %s; it takes no part in elections until a leader has recorded that",
			n.cfg.Addr, n.cfg.PeerAddr, where), true
	case n.Leaderless():
		// It may be that they have it no more, and so do not send what would tell it.
		return "no leader reaches this server", false
	case !known && !n.CaughtUp():
		// A leader that reaches it has it among its servers; the entry that says so is on its way,
		// with the state or with those before it.
		return "", false
	case !known:
		return "this server is not part of the cluster any more", true
	case rec == nil || !sameRecord(rec, n.selfRecord()):
		return "it is not recorded yet where this server is", false
	}
	return "", false
}

// stayKnown sees to it that the cluster knows where this server is, until the server ends, and tells
// of its vote.
func (n *Node) stayKnown() {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	pause, next := announceEvery, time.Now()
	vote := ""
	for {
		vote = n.tellVote(vote)
		what, urgent := n.misplaced()
		switch now := time.Now(); {
		case what == "":
			pause, next = announceEvery, now
			n.problem.set(n.cfg.Logger, "", false)
		case !now.Before(next):
			n.problem.set(n.cfg.Logger, n.announce(what, urgent), urgent)
			pause = min(2*pause, announceMax)
			next = time.Now().Add(pause)
		}
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// announce asks the leader to record where this server is, because of what is wrong, and
// returns what there is to say then.
func (n *Node) announce(what string, urgent bool) string {
	leader := n.LeaderAddr()
	if leader == "" {
		leader = leaderAmong(n.askAll(n.ctx))
	}
	switch {
	case leader == n.cfg.Addr:
		return "" // this server has been elected meanwhile, and records itself
	case leader == "" && !urgent:
		return "" // nobody has one, which is another matter
	case leader == "":
		return what + ". No leader was found: a majority of the others must be up, or this server be started where it was"
	}
	ctx, cancel := context.WithTimeout(n.ctx, joinTimeout)
	defer cancel()
	if err := n.cfg.Peers.Join(ctx, leader, n.Self()); err != nil {
		return fmt.Sprintf("%s. The leader at %s: %v", what, leader, err)
	}
	return what + ". The leader is at " + leader
}

// leaderAmong is the address of the leader by what servers have said; "": nobody knows one.
func leaderAmong(peers []PeerInfo) (addr string) {
	term, leads := uint64(0), false
	for _, p := range peers {
		at := p.LeaderAddr
		if p.State == RoleLeader {
			at = p.Addr
		}
		// What one says of itself is newer than what others have heard of it.
		if is := p.State == RoleLeader; at != "" && (p.Term > term || p.Term == term && is && !leads || addr == "") {
			addr, term, leads = at, p.Term, is
		}
	}
	return addr
}

// problem is what keeps this server from doing its part.
type problem struct {
	mu     sync.Mutex
	text   string
	since  time.Time
	logged time.Time
}

func (p *problem) get() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text
}

// set takes note of a problem, or that there is none, and has it logged: at once where it
// is urgent.
func (p *problem) set(log *slog.Logger, text string, urgent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case text == "" && !p.logged.IsZero():
		log.Info("the cluster knows where this server is")
		p.logged = time.Time{}
	case text != "" && p.text == "":
		p.since = now
	}
	p.text = text
	if text != "" && (urgent || now.Sub(p.since) > announceQuiet) && (p.logged.IsZero() || now.Sub(p.logged) > announceAgain) {
		log.Warn("the cluster does not have this server where it is", "problem", text)
		p.logged = now
	}
}
