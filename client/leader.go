package client

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

// suspectFor is how long calls keep away from a leader that failed one of them:
// about as long as a cluster takes to elect another.
const suspectFor = time.Second

// errNewLeader ends an attempt at a server that is not the leader any more.
var errNewLeader = errors.New("another server has become leader")

// leaderCache is who is believed to lead. A wrong belief costs a detour, no more:
// servers forward what they cannot do themselves. It follows what a leader.Finder hears.
type leaderCache struct {
	log *slog.Logger
	// moved is called when another server is believed to lead.
	moved func()

	mu   sync.Mutex
	addr string
	// term is that of addr; 0 if a hint told without one.
	term         uint64
	suspectUntil time.Time
	// reign ends when another server is believed to lead; attempts hang on it.
	reign context.Context
	end   context.CancelFunc
}

func (l *leaderCache) init(log *slog.Logger, moved func()) {
	l.log, l.moved = log, moved
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

// Follow takes what a server has announced.
func (l *leaderCache) Follow(_ context.Context, news *rotav1.WatchLeaderResponse) {
	l.announced(news.GetLeaderAddr(), news.GetTerm())
}

// Leader is the believed leader, or "".
func (l *leaderCache) Leader() string {
	addr, _ := l.get()
	return addr
}

// Term is that of the believed leader; 0: it is not known.
func (l *leaderCache) Term() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term
}

// Refute says that nobody leads in a term, where the servers have reached another one.
func (l *leaderCache) Refute(term, reached uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term == term {
		l.log.Debug("nobody leads in the highest term that was heard of", "term", term, "reached", reached)
		l.set("", reached)
	}
}

// hinted takes the hint in an error that the server from answered. A hint has no term,
// and the server may be behind. So it counts only if nothing better is known, or if
// the believed leader itself names another server.
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
	l.moved()
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
