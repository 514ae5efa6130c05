package raftnet

import (
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// unreachableAfter is how long a server may leave heartbeats unanswered before the log says so.
	unreachableAfter = time.Second
	// unreachableAgain is how often it says so.
	unreachableAgain = time.Minute
)

// unreachableLog tells the log of servers that do not answer this one while it leads: a line when
// one goes, a line when it is back, and one a minute between. A server that comes and goes has
// no more lines than that.
type unreachableLog struct {
	log *slog.Logger

	mu      sync.Mutex
	servers map[raft.ServerID]*loggedOutage
}

// loggedOutage is what is known of a server that has not answered.
type loggedOutage struct {
	// term is that in which this server found out; it may not have led for a while.
	term uint64
	// since is when it did not answer for the first time; zero: it answers.
	since time.Time
	// said is when the log had a line last, and told whether that was of this absence.
	said time.Time
	told bool
}

func newUnreachableLog(log *slog.Logger) *unreachableLog {
	return &unreachableLog{log: log, servers: map[raft.ServerID]*loggedOutage{}}
}

// heard notes whether a server has answered a heartbeat of a term.
func (l *unreachableLog) heard(id raft.ServerID, term uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, now := l.servers[id], time.Now()
	if s == nil || s.term != term {
		// What was known in an earlier term says nothing about the time since. The time of its last line still
		// counts.
		s = &loggedOutage{term: term, said: saidBefore(s)}
		l.servers[id] = s
	}
	switch {
	case err == nil:
		if s.told {
			l.log.Info("a server answers again", "server", NodeID(id), "was_away", now.Sub(s.since).Round(time.Millisecond))
		}
		s.since, s.told = time.Time{}, false
	case s.since.IsZero():
		s.since = now
	case now.Sub(s.since) >= unreachableAfter && now.Sub(s.said) >= unreachableAgain:
		s.said, s.told = now, true
		l.log.Warn("a server does not answer", "server", NodeID(id), "away_for", now.Sub(s.since).Round(time.Millisecond), "error", err)
	}
}

func saidBefore(s *loggedOutage) time.Time {
	if s == nil {
		return time.Time{}
	}
	return s.said
}
