package client

import (
	"context"
	"errors"
	"sync"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

// suspectFor is how long calls keep away from a leader that failed one of them:
// about as long as a cluster takes to elect another.
const suspectFor = time.Second

// watchLeaderFor is how long the leader itself is watched, where no other server
// answered, before the others are tried again.
const watchLeaderFor = 30 * time.Second

// errNewLeader ends an attempt at a server that is not the leader any more.
var errNewLeader = errors.New("another server has become leader")

// errMoved ends a watch at a server that has become leader itself.
var errMoved = errors.New("the watched server became leader")

// errDoubtful ends a watch that told of a lower term than is believed in, or of one far ahead, while too few
// servers said how far they are. The next one tells of it again: this one may say nothing more.
var errDoubtful = errors.New("it is not known whether there is a leader of the highest term")

// leaderCache is who is believed to lead. A wrong belief costs a detour, no more:
// servers forward what they cannot do themselves.
type leaderCache struct {
	mu   sync.Mutex
	addr string
	// term is that of addr; 0 where a hint told without one.
	term         uint64
	suspectUntil time.Time
	// reign ends when another server is believed to lead; attempts hang on it.
	reign context.Context
	end   context.CancelFunc
}

func (l *leaderCache) init() {
	l.reign, l.end = context.WithCancel(context.Background())
}

func (l *leaderCache) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
}

// get returns the believed leader, or "", and the context of its reign.
func (l *leaderCache) get() (string, context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addr, l.reign
}

// trusted returns the believed leader, and whether it did not fail a moment ago.
func (l *leaderCache) trusted(now time.Time) (addr string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addr, l.addr != "" && !now.Before(l.suspectUntil)
}

// announced takes what a server says of the leader of a term. A lower term than
// the known one is old news.
func (l *leaderCache) announced(addr string, term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if addr == "" || term < l.term {
		return
	}
	l.set(addr, term)
}

// knownTerm is the term of the believed leader; 0: it is not known.
func (l *leaderCache) knownTerm() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term
}

// refute says that nobody leads in a term, where the servers have reached another one.
func (l *leaderCache) refute(term, reached uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term == term {
		l.set("", reached)
	}
}

// hinted takes the hint of an error that from answered with. A hint has no term,
// and the server may be behind: it counts where nothing better is known, or where
// the believed leader itself says that it is another one.
func (l *leaderCache) hinted(from, addr string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if addr == "" || addr == l.addr {
		return
	}
	if l.addr == "" || l.addr == from || now.Before(l.suspectUntil) {
		l.set(addr, 0)
	}
}

// set changes the leader; mu is held.
func (l *leaderCache) set(addr string, term uint64) {
	l.term, l.suspectUntil = term, time.Time{}
	if l.addr == addr {
		return
	}
	l.addr = addr
	l.end()
	l.reign, l.end = context.WithCancel(context.Background())
}

// failed notes that a call to addr failed.
func (l *leaderCache) failed(addr string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.addr == addr {
		l.suspectUntil = now.Add(suspectFor)
	}
}

// answered notes that addr is alive.
func (l *leaderCache) answered(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.addr == addr {
		l.suspectUntil = time.Time{}
	}
}

// watchLeader keeps a stream to some server that tells of every new leader, until
// the client is closed. It prefers a server that does not lead: the one that tells
// of a leader's end should not end with it, and its connection is warm when the
// leader's breaks.
func (c *Client) watchLeader() {
	var last *server
	failures := 0
	for {
		// Where all others have failed, the leader has to do.
		leaderToo := failures >= c.serverCount()-1
		s := c.watchTarget(last, leaderToo)
		if s == nil {
			return
		}
		told, err := c.watchFrom(s, leaderToo)
		last = s
		if c.ctx.Err() != nil {
			return
		}
		if errors.Is(err, errMoved) {
			failures = 0
			continue
		}
		if told {
			failures = 0
		}
		if errors.Is(err, errDoubtful) && !c.pause(c.ctx, termPause) {
			return
		}
		c.log.Debug("watch of the leader broke", "server", s.addr, "error", err)
		if !c.pause(c.ctx, backoff(failures)) {
			return
		}
		failures++
	}
}

// watchFrom watches the leader from one server until the stream breaks. told says
// that it sent anything.
func (c *Client) watchFrom(s *server, leaderToo bool) (told bool, err error) {
	ctx, cancel := context.WithCancel(c.ctx)
	if leaderToo && c.serverCount() > 1 {
		ctx, cancel = context.WithTimeout(c.ctx, watchLeaderFor)
	}
	defer cancel()
	stream, err := s.cluster.WatchLeader(ctx, &rotav1.WatchLeaderRequest{})
	if err != nil {
		return false, err
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			return told, err
		}
		told = true
		s.silent.Store(false)
		c.named(msg.GetServers())
		c.log.Debug("a leader was announced", "server", s.addr, "leader", msg.GetLeaderAddr(), "term", msg.GetTerm())
		if !c.heardOf(msg.GetLeaderAddr(), msg.GetTerm()) {
			return told, errDoubtful
		}
		if leader, _ := c.leader.get(); leader == s.addr && !leaderToo {
			return told, errMoved
		}
	}
}

func (c *Client) serverCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.servers)
}
