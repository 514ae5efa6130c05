package fsm

import (
	"sync/atomic"
	"time"

	"github.com/rota-scheduler/rota/internal/latency"
	"github.com/rota-scheduler/rota/task"
)

// Tally counts what entries have done since this server's start, for metrics. As events, it is no part of the state: a server that has
// applied fewer entries since its start has counted less. It outlives a machine.
type Tally struct {
	submitted, granted atomic.Uint64
	// ended counts tasks by their outcome, failed those of them that failed by why.
	ended  [task.NumStates]atomic.Uint64
	failed [task.NumReasons]atomic.Uint64
	// attempts counts attempts after which tasks are tried again, by why they ended.
	attempts [task.NumReasons]atomic.Uint64
	// opened, left and lost count sessions: of workers that have come, that have ended in good order, and that were lost.
	opened, left, lost atomic.Uint64
	// assign is how long tasks have waited from their submit, or from the start of a delayed job, until they were first granted.
	assign latency.Histogram
}

// Tallied is what a Tally has counted.
type Tallied struct {
	// Submitted is jobs, Granted tasks.
	Submitted, Granted uint64
	// Ended is tasks by task.State, Failed those that failed by task.Reason, Attempts the attempts that did not end their tasks.
	Ended            [task.NumStates]uint64
	Failed, Attempts [task.NumReasons]uint64
	// SessionsOpened, SessionsLeft and SessionsLost are sessions of workers.
	SessionsOpened, SessionsLeft, SessionsLost uint64
	// Assign is how long tasks waited for their first grant.
	Assign latency.Reading
}

// Read returns what was counted so far.
func (t *Tally) Read() Tallied {
	out := Tallied{
		Submitted: t.submitted.Load(), Granted: t.granted.Load(),
		SessionsOpened: t.opened.Load(), SessionsLeft: t.left.Load(), SessionsLost: t.lost.Load(), Assign: t.assign.Read(),
	}
	for i := range t.ended {
		out.Ended[i] = t.ended[i].Load()
	}
	for i := range t.failed {
		out.Failed[i], out.Attempts[i] = t.failed[i].Load(), t.attempts[i].Load()
	}
	return out
}

// countEnded counts tasks that have ended alike.
func (t *Tally) countEnded(to task.State, reason task.Reason, n uint32) {
	t.ended[to].Add(uint64(n))
	if to == task.Failed {
		t.failed[reason].Add(uint64(n))
	}
}

// countGranted counts tasks of j that were granted together, as the attempt of a number.
func (t *Tally) countGranted(j *job, n, attempt uint32, now int64) {
	t.granted.Add(uint64(n))
	if attempt == 1 {
		t.assign.AddN(time.Duration(now-max(j.submitted, j.notBefore)), uint64(n))
	}
}

// countSession counts a session that has ended.
func (t *Tally) countSession(how parting) {
	if how == lost {
		t.lost.Add(1)
		return
	}
	t.left.Add(1)
}
