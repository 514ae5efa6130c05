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
)

const (
	// vigilLooks is how often a server looks at its leader in an election timeout, and
	// vigilTick the least time between two looks.
	vigilLooks = 16
	vigilTick  = 5 * time.Millisecond
	// relaxed times the election timeout is what raft waits for a silent leader by itself, where
	// the vigil does not end the wait: as long as this server is kept from running.
	relaxed = 4
	// after is the part of an election timeout that is added to it before a server campaigns:
	// by then the leader has been silent for a timeout for all others, too, whose last
	// heartbeat may have come later, and they are ready to vote.
	after = 5
	// lateBy is the part of an election timeout that a look may be late before this server counts
	// as having been kept from running; attentive is the part for which it listens then, before
	// it takes its leader for silent.
	lateBy, attentive = 8, 2
	// fresh is the part of an election timeout for which a candidate stands against others.
	fresh = 4
	// readyWithin bounds the wait for raft to give a silent leader up, and readyLook is how often
	// it is looked at.
	readyWithin = 25 * time.Millisecond
	readyLook   = 200 * time.Microsecond
)

// errRival refuses the candidacy of a server that is no better than another one.
var errRival = errors.New("there is another candidate, with as good a log: this server itself, which has the lower id, or one that has asked before")

// vigil decides when a silent leader has been silent for long enough.
//
// Raft's own timer cannot tell a leader that is silent from a server that was not run: on a
// busy machine it fires when both have slept, while the leader's messages lie in the socket
// unread. So raft is told to wait for longer than it should, and the vigil ends the wait: it
// looks at the leader often, knows by that whether this server was run, and listens for a
// while after it was not. It also looks more closely than raft, which notices a loss anywhere
// between one timeout and three: with it the timeout can be longer, and failover is not.
//
// Raft still decides: it campaigns only if it has not heard from its leader for a timeout.
//
// It also spares elections that fail. Raft refuses to vote while it has a leader, so the
// first who campaigns is refused by those who are a moment behind, and waits for up to two
// timeouts more; here they give up the silent leader when they are asked. And of two who
// campaign at once, and would split the votes, one yields.
type vigil struct {
	self    raft.ServerID
	raft    *raft.Raft
	reload  func(change func(*raft.ReloadableConfig)) error
	log     *slog.Logger
	timeout time.Duration

	mu      sync.Mutex
	starved *starvation
	// last is the look before, and loose says that raft was told to wait.
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

func newVigil(cfg Config, r *raft.Raft, reload func(change func(*raft.ReloadableConfig)) error) *vigil {
	return &vigil{self: cfg.Self, raft: r, reload: reload, log: cfg.Logger, timeout: cfg.ElectionTimeout, starved: newStarvation(cfg.Logger)}
}

func (v *vigil) run(ctx context.Context) {
	tick := time.NewTicker(max(v.timeout/vigilLooks, vigilTick))
	defer tick.Stop()
	v.last = time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		v.look()
	}
}

func (v *vigil) look() {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	if gap := now.Sub(v.last); gap > 2*max(v.timeout/vigilLooks, vigilTick)+v.timeout/lateBy {
		v.starved.note(now, gap, gap > v.timeout/2)
	}
	v.last = now
	r := v.raft
	state, term := r.State(), r.CurrentTerm()
	_, leader := r.LeaderWithID()
	led := v.led
	v.led = 0
	switch {
	case state == raft.Leader:
		v.led = term
		v.tighten()
	case state != raft.Follower || leader == "":
		if led != 0 && led == term && state == raft.Follower && v.starved.within(now, v.timeout) {
			// It gave up for want of answers that it was not run to read. Who still follows it
			// elects it again, and anybody else refuses.
			v.log.Info("leadership was lost while this server was not run: asking for it again")
			v.relax()
		}
		v.tighten()
	case now.Sub(r.LastContact()) < v.timeout:
		v.relax()
	case v.silent(now, v.timeout+v.timeout/after):
		v.campaign(now)
	}
}

// silent says whether this server has listened, and has not heard from its leader for a time.
func (v *vigil) silent(now time.Time, d time.Duration) bool {
	return now.Sub(v.raft.LastContact()) >= d && !v.starved.within(now, v.timeout/attentive)
}

// campaign ends raft's wait for a silent leader.
func (v *vigil) campaign(now time.Time) {
	if v.loose {
		v.began = now
	}
	v.tighten()
}

// preVote is called with each pre-vote before raft gets it. An error refuses it.
func (v *vigil) preVote(rival *raft.RequestPreVoteRequest) error {
	r := v.raft
	v.giveUp(r)
	term, err := strconv.ParseUint(r.Stats()["last_log_term"], 10, 64)
	own := &raft.RequestPreVoteRequest{LastLogTerm: term, LastLogIndex: r.LastIndex()}
	if err != nil || better(own, rival) {
		return nil // raft refuses it, or knows more
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	lower := v.self < raft.ServerID(rival.ID)
	if lower && r.State() == raft.Candidate && now.Sub(v.began) < v.timeout/fresh && !better(rival, own) {
		return errRival
	}
	asked := v.promised.Term == rival.Term && now.Sub(v.promisedAt) < v.timeout/fresh
	if asked && !bytes.Equal(v.promised.ID, rival.ID) && !better(rival, &v.promised) {
		return errRival
	}
	v.promised, v.promisedAt = *rival, now
	return nil
}

// better says whether the log of a candidate is further than that of another one.
func better(a, b *raft.RequestPreVoteRequest) bool {
	return cmp.Or(cmp.Compare(a.LastLogTerm, b.LastLogTerm), cmp.Compare(a.LastLogIndex, b.LastLogIndex)) > 0
}

// giveUp gives a leader up that has been silent for a timeout, and waits for raft to do so.
func (v *vigil) giveUp(r *raft.Raft) {
	v.mu.Lock()
	now := time.Now()
	if _, leader := r.LeaderWithID(); r.State() != raft.Follower || leader == "" || !v.loose || !v.silent(now, v.timeout) {
		v.mu.Unlock()
		return
	}
	v.campaign(now)
	v.mu.Unlock()
	for r.State() == raft.Follower && time.Since(now) < readyWithin {
		time.Sleep(readyLook)
	}
}

// relax has raft wait for longer than a timeout.
func (v *vigil) relax() {
	if !v.loose {
		v.loose = v.set(relaxed * v.timeout)
	}
}

// tighten has raft look at once whether it has heard from a leader for a timeout.
func (v *vigil) tighten() {
	if v.loose {
		v.loose = !v.set(v.timeout)
	}
}

func (v *vigil) set(timeout time.Duration) bool {
	err := v.reload(func(rc *raft.ReloadableConfig) {
		rc.HeartbeatTimeout, rc.ElectionTimeout = timeout, timeout
	})
	if err != nil {
		v.log.Error("cannot set raft's timeouts", "error", err)
	}
	return err == nil
}
