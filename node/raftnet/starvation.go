package raftnet

import (
	"log/slog"
	"time"
)

// starvedPause is how often the log says that this server was kept from running.
const starvedPause = time.Minute

// starvation keeps in mind when this server was not run, though it had something to do: the
// machine is busy, or the process was stopped. It is for one goroutine.
type starvation struct {
	log *slog.Logger
	// last is when it was run again.
	last time.Time
	// said is when the log had a line, and what follows is about the time since.
	said  time.Time
	times int
	worst time.Duration
}

func newStarvation(log *slog.Logger) *starvation { return &starvation{log: log} }

// note notes that this server was not run for a while. If that was long, the log says so.
func (s *starvation) note(now time.Time, gap time.Duration, long bool) {
	s.last = now
	if !long {
		return
	}
	s.times++
	s.worst = max(s.worst, gap)
	if !s.said.IsZero() && now.Sub(s.said) < starvedPause {
		return
	}
	s.log.Warn("this server was not run for a while: the machine is busy, or the process was stopped",
		"for", gap.Round(time.Millisecond), "times", s.times, "longest", s.worst.Round(time.Millisecond))
	s.said, s.times, s.worst = now, 0, 0
}

// within says whether this server was kept from running within a time.
func (s *starvation) within(now time.Time, d time.Duration) bool {
	return !s.last.IsZero() && now.Sub(s.last) < d
}
