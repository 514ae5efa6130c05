package checker

import (
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

const (
	// reportMargin is how long after its timeout, or after it was asked to stop, a task is left to
	// a worker that says nothing of it: docs/guarantees.md.
	reportMargin = 15 * time.Second
	// overdueGrace is how long it may take from then on until somebody who waits for its end sees it.
	overdueGrace = 5 * time.Second
)

// checkOverdue is L8. Only quiet times count, as for L5: a new leader waits again from the beginning, and so does
// one whose worker has come back. S8 checks that exclusive tasks do not run elsewhere before the lease is over.
func checkOverdue(v *view, r *Result) {
	if !v.steady() {
		return // servers whose clocks have leapt take nothing off anybody for an hour
	}
	jobs, sessions := v.submitsByJob(), v.workerSessions()
	mute := map[uint64]bool{}
	for _, m := range v.mutes {
		mute[m.Value.Session] = true
	}
	stopped := map[uint64]int64{}
	for i := range v.cancels {
		if c := &v.cancels[i]; c.Type == history.OK && stopped[c.In.Job] == 0 {
			stopped[c.In.Job] = c.Done.Time
		}
	}
	ended, watched := v.endsSeen()
	for _, g := range v.grants {
		s, at := sessions[g.Value.Session], g.Op.Time+jobs[g.Value.Job].TimeoutNs
		if at == g.Op.Time {
			at = stopped[g.Value.Job]
		}
		if !mute[g.Value.Session] || s == nil || at < g.Op.Time {
			continue // nobody ends it
		}
		due := v.heardBy(s, at)
		if jobs[g.Value.Job].Serial {
			due += s.lease
		}
		id := taskID{g.Value.Job, g.Value.Index}
		end, seen := ended[id]
		until := due
		if seen {
			until = min(due, end)
		}
		if !v.quiet(g.Op.Time, until) || !seen && watched[id.job] < due {
			continue
		}
		r.Compared++
		switch {
		case !seen:
			r.problem("task %v: %s, which was given it at %v, never reported it, and it had not ended at %v", id, s.worker, time.Duration(g.Op.Time), time.Duration(watched[id.job]))
		case end > due:
			r.problem("task %v: %s, which was given it at %v, never reported it, and it ended at %v, not by %v", id, s.worker, time.Duration(g.Op.Time), time.Duration(end), time.Duration(due))
		}
	}
}

// heardBy is until when a leader may wait for a session's worker that should have reported at a time. A worker that
// may have missed beats, by the answers that it saw, has come back with its next beat.
func (v *view) heardBy(s *session, at int64) int64 {
	wait := (reportMargin + overdueGrace).Nanoseconds()
	due, last := at+wait, s.opened
	for _, b := range v.beats {
		if b.Value.Session != s.id || b.Op.Time > due {
			continue
		}
		if b.Op.Time-last > s.lease/2 {
			due = max(due, b.Op.Time+wait)
		}
		last = b.Value.Sent
	}
	return due
}

// endsSeen is when the outcomes of tasks were first seen on streams, and until when those of jobs
// were waited for.
func (v *view) endsSeen() (ended map[taskID]int64, watched map[uint64]int64) {
	ended, watched = map[taskID]int64{}, map[uint64]int64{}
	for i := range v.streams {
		c := &v.streams[i]
		at := c.End(v.end)
		watched[c.In.Job] = max(watched[c.In.Job], at)
		for _, o := range c.Out.Outcomes {
			id := taskID{c.In.Job, o.Index}
			if known, seen := ended[id]; !seen || at < known {
				ended[id] = at
			}
		}
	}
	return ended, watched
}
