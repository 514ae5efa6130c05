package raftnet

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/internal/ticks"
)

const (
	// looksPerTimeout is how often a server looks at its leader in an election timeout, and
	// minLook the least time between two looks.
	looksPerTimeout = 16
	minLook         = 5 * time.Millisecond
	// relaxedTimeouts times the election timeout is how long raft itself waits for a silent leader, if the watch does
	// not end the wait: while this server is kept from running.
	relaxedTimeouts = 4
	// campaignAfter is the part of an election timeout that a server waits longer before it campaigns. By then the
	// leader has been silent for a timeout for all others too, whose last heartbeat may have come later, and they are
	// ready to vote.
	campaignAfter = 5
	// lateBy is the part of an election timeout that a look may be late before this server counts as having been kept
	// from running. listenFor is the part for which it then listens before it counts its leader as silent.
	lateBy, listenFor = 8, 2
	// candidateFor is the part of an election timeout for which a candidate stands against others.
	candidateFor = 4
	// giveUpWithin bounds the wait until raft gives up a silent leader, and giveUpLook is how often to check whether
	// it has.
	giveUpWithin = 25 * time.Millisecond
	giveUpLook   = 200 * time.Microsecond
)

// errRival refuses the candidacy of a server that is no better than another one.
var errRival = errors.New("there is another candidate, with as good a log: this server itself, which has the lower id, or one that has asked before")

// leaderWatch decides when a silent leader has been silent for long enough.
//
// Raft's own timer cannot tell a leader that is silent from a server that was not run: on a busy machine it fires
// when both have slept, while the leader's messages wait in the socket, unread. So raft is told to wait for longer
// than it should, and the watch ends the wait. It looks at the leader often, knows from that whether this server was
// run, and listens for a while after it was not. It also notices a loss sooner than raft, which takes between one
// timeout and three: so the timeout can be longer, and failover takes no longer.
//
// Raft still decides: it campaigns only if it has not heard from its leader for a timeout.
//
// It also avoids elections that fail. Raft refuses to vote while it has a leader. So the first server that campaigns
// would be refused by those that are a moment behind, and would wait for up to two timeouts more; here they give up
// the silent leader when they are asked. And if two servers campaign at once, and would split the votes, one of them
// yields.
type leaderWatch struct {
	self    raft.ServerID
	raft    *raft.Raft
	reload  func(change func(*raft.ReloadableConfig)) error
	log     *slog.Logger
	timeout time.Duration

	mu      sync.Mutex
	starved *starvation
	// last is the time of the look before, and loose says that raft was told to wait.
	last  time.Time
	loose bool
	// began is when this server began to campaign last.
	began time.Time
	// promised is the last rival whose log was as good as this server's, and when that was.
	promised   raft.RequestPreVoteRequest
	promisedAt time.Time
	// led is the term in which this server led at the look before; 0: it did not.
	led uint64
}

func newLeaderWatch(cfg Config, r *raft.Raft, reload func(change func(*raft.ReloadableConfig)) error) *leaderWatch {
	return &leaderWatch{self: cfg.Self, raft: r, reload: reload, log: cfg.Logger, timeout: cfg.ElectionTimeout, starved: newStarvation(cfg.Logger)}
}

func (w *leaderWatch) run(ctx context.Context) {
	w.last = time.Now()
	for range ticks.Every(ctx, max(w.timeout/looksPerTimeout, minLook)) {
		w.look()
	}
}

func (w *leaderWatch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if gap := now.Sub(w.last); gap > 2*max(w.timeout/looksPerTimeout, minLook)+w.timeout/lateBy {
		w.starved.note(now, gap, gap > w.timeout/2)
	}
	w.last = now
	r := w.raft
	state, term := r.State(), r.CurrentTerm()
	_, leader := r.LeaderWithID()
	led := w.led
	w.led = 0
	switch {
	case state == raft.Leader:
		w.led = term
		w.tighten()
	case state != raft.Follower || leader == "":
		if led != 0 && led == term && state == raft.Follower && w.starved.within(now, w.timeout) {
			// It gave up because it was not run to read the answers. Servers that still follow it elect it again, and
			// all others refuse.
			w.log.Info("leadership was lost while this server was not run: asking for it again")
			w.relax()
		}
		w.tighten()
	case now.Sub(r.LastContact()) < w.timeout:
		w.relax()
	case w.silent(now, w.timeout+w.timeout/campaignAfter):
		w.campaign(now)
	}
}

// silent says whether this server has listened, and has not heard from its leader for a time.
func (w *leaderWatch) silent(now time.Time, d time.Duration) bool {
	return now.Sub(w.raft.LastContact()) >= d && !w.starved.within(now, w.timeout/listenFor)
}

// campaign ends raft's wait for a silent leader.
func (w *leaderWatch) campaign(now time.Time) {
	if w.loose {
		w.began = now
	}
	w.tighten()
}

// preVote is called with each pre-vote before raft gets it. An error refuses it.
func (w *leaderWatch) preVote(rival *raft.RequestPreVoteRequest) error {
	r := w.raft
	w.giveUp(r)
	term, err := strconv.ParseUint(r.Stats()["last_log_term"], 10, 64)
	own := &raft.RequestPreVoteRequest{LastLogTerm: term, LastLogIndex: r.LastIndex()}
	if err != nil || better(own, rival) {
		return nil // raft refuses it, or knows more
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	lower := w.self < raft.ServerID(rival.ID)
	if lower && r.State() == raft.Candidate && now.Sub(w.began) < w.timeout/candidateFor && !better(rival, own) {
		return errRival
	}
	asked := w.promised.Term == rival.Term && now.Sub(w.promisedAt) < w.timeout/candidateFor
	if asked && !bytes.Equal(w.promised.ID, rival.ID) && !better(rival, &w.promised) {
		return errRival
	}
	w.promised, w.promisedAt = *rival, now
	return nil
}

// better says whether the log of a candidate is further than that of another one.
func better(a, b *raft.RequestPreVoteRequest) bool {
	return cmp.Or(cmp.Compare(a.LastLogTerm, b.LastLogTerm), cmp.Compare(a.LastLogIndex, b.LastLogIndex)) > 0
}

// giveUp gives a leader up that has been silent for a timeout, and waits for raft to do so.
func (w *leaderWatch) giveUp(r *raft.Raft) {
	w.mu.Lock()
	now := time.Now()
	if _, leader := r.LeaderWithID(); r.State() != raft.Follower || leader == "" || !w.loose || !w.silent(now, w.timeout) {
		w.mu.Unlock()
		return
	}
	w.campaign(now)
	w.mu.Unlock()
	for r.State() == raft.Follower && time.Since(now) < giveUpWithin {
		time.Sleep(giveUpLook)
	}
}

// relax makes raft wait for longer than a timeout.
func (w *leaderWatch) relax() {
	if !w.loose {
		w.loose = w.set(relaxedTimeouts * w.timeout)
	}
}

// tighten makes raft check at once whether it has heard from a leader for a timeout.
func (w *leaderWatch) tighten() {
	if w.loose {
		w.loose = !w.set(w.timeout)
	}
}

func (w *leaderWatch) set(timeout time.Duration) bool {
	err := w.reload(func(rc *raft.ReloadableConfig) {
		rc.HeartbeatTimeout, rc.ElectionTimeout = timeout, timeout
	})
	if err != nil {
		w.log.Error("cannot set raft's timeouts", "error", err)
	}
	return err == nil
}
