package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// announceEvery is how often a server checks whether the cluster knows where it is. While
	// it does not, the server asks the leader to record it. Each time that the leader refuses,
	// the pause doubles, up to announceMax.
	announceEvery = 200 * time.Millisecond
	announceMax   = 2 * time.Second
	// announceQuiet is how long that may last before it is worth a line in the log, and
	// announceAgain how often the log says it while it lasts.
	announceQuiet = 2 * time.Second
	announceAgain = time.Minute
)

// joinTimeout bounds a request to be taken in or recorded, for which the leader asks back and writes
// entries.
const joinTimeout = 5 * time.Second

// announcer sees to it that the cluster knows where this server is, and tells of its vote.
type announcer struct {
	self      *self
	raft      interface{ State() raft.RaftState }
	directory *directory
	inquiry   *inquiry
	leaders   *leaders
	// caughtUp says whether this server has had what the leader has, see catchUp.
	caughtUp func() bool
	// info is what this server says of itself.
	info func() PeerInfo
	// depart ends this server, because it was removed.
	depart func()
	logger *slog.Logger

	problem problem
}

// misplaced says what the cluster has got wrong about this server; "": nothing. What is
// urgent keeps this server from doing its part.
func (a *announcer) misplaced() (what string, urgent bool) {
	servers, err := a.directory.servers()
	if err != nil || a.raft.State() == raft.Leader {
		return "", false // a leader records itself
	}
	return a.misplacedAmong(servers)
}

// misplacedAmong is misplaced by what a configuration says.
func (a *announcer) misplacedAmong(servers []raft.Server) (what string, urgent bool) {
	self, known := member(servers, a.self.id)
	rec := a.directory.record(a.self.id)
	switch {
	case known && string(self.Address) != a.self.peerAddr:
		where := "Raft " + string(self.Address)
		if rec != nil {
			where = fmt.Sprintf("%s (%s)", rec.Addr, where)
		}
		return fmt.Sprintf("this server is at %s (Raft %s), the cluster knows it at %s; it takes no part in elections until a leader has recorded that, or a majority of the servers finds it here",
			a.self.addr, a.self.peerAddr, where), true
	case a.leaders.leaderless():
		// The others may not have it any more, and so do not send the entry that would say so.
		return "no leader reaches this server", false
	case !known && !a.caughtUp():
		// A leader that reaches it has it among its servers; the entry that says so is on its way,
		// with the state or with those before it.
		return "", false
	case !known:
		return "this server is not part of the cluster any more", true
	case rec == nil || !sameRecord(rec, a.self.record()):
		return "it is not recorded yet where this server is", false
	}
	return "", false
}

// run announces this server whenever it has to be, until ctx ends.
func (a *announcer) run(ctx context.Context) {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	pause, next := announceEvery, time.Now()
	vote := ""
	for {
		vote = a.tellVote(vote)
		what, urgent := a.misplaced()
		switch now := time.Now(); {
		case what == "":
			pause, next = announceEvery, now
			a.problem.set(a.logger, "", false)
		case !now.Before(next):
			a.problem.set(a.logger, a.announce(ctx, what, urgent), urgent)
			pause = min(2*pause, announceMax)
			next = time.Now().Add(pause)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// announce asks the leader to record where this server is, because of what is wrong, and
// returns what there is to say then.
func (a *announcer) announce(ctx context.Context, what string, urgent bool) string {
	leader := a.leaders.addr()
	if leader == "" {
		leader = leaderAmong(a.inquiry.askAll(ctx))
	}
	switch {
	case leader == a.self.addr:
		return "" // this server has been elected meanwhile, and records itself
	case leader == "" && !urgent:
		return "" // nobody has one, which is another matter
	case leader == "":
		return what + ". No leader was found: a majority of the others must be up, or this server be started where it was"
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	err := a.inquiry.peers.Join(ctx, leader, a.info())
	if errors.Is(err, ErrRemoved) {
		a.depart()
	}
	if err != nil {
		return fmt.Sprintf("%s. The leader at %s: %v", what, leader, err)
	}
	return what + ". The leader is at " + leader
}

// tellVote says in the log that this server has no vote, and why, or that it votes now. said is what it
// said before.
func (a *announcer) tellVote(said string) string {
	servers, err := a.directory.servers()
	if err != nil {
		return said
	}
	self, known := member(servers, a.self.id)
	rec := a.directory.record(a.self.id)
	if !known || rec == nil {
		return said // it is about to hear more, or has left
	}
	why := voteless(self, rec, votersAmong(servers))
	switch {
	case why == said:
	case why == "":
		a.logger.Info("this server has a vote now")
	default:
		a.logger.Warn("this server has no vote", "why", why)
	}
	return why
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

// set notes a problem, or that there is none, and logs it: at once if it is urgent.
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
