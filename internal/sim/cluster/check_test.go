package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/task"
)

// Each of these is what a cluster must never say. A checker that misses it is none.
func TestHistorySeesContradictions(t *testing.T) {
	t.Parallel()
	id := task.ID{Job: 1, Index: 2}
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	result := func(state task.State, token int64) []store.Result {
		return []store.Result{{Index: 2, Segment: &logpb.Segment{State: uint32(state), TokenOffset: token - 2, Granted: true}}}
	}
	for name, notes := range map[string]func(h *History){
		"two jobs of one key": func(h *History) {
			h.submitted("k", fsm.Result{Job: 1})
			h.submitted("k", fsm.Result{Job: 2, Existed: true})
		},
		"one key new twice": func(h *History) {
			h.submitted("k", fsm.Result{Job: 1})
			h.submitted("k", fsm.Result{Job: 1})
		},
		"an outcome that changes": func(h *History) {
			h.saw("n1", 1, result(task.Succeeded, 7))
			h.saw("n2", 1, result(task.Failed, 7))
		},
		"an outcome of another attempt": func(h *History) {
			h.saw("n1", 1, result(task.Succeeded, 7))
			h.saw("n1", 1, result(task.Succeeded, 8))
		},
		"a token granted twice": func(h *History) {
			h.grant(id, 7)
			h.grant(task.ID{Job: 1, Index: 3}, 7)
		},
		"two successes": func(h *History) {
			h.reported(attemptKey{id, 7}, task.OutcomeSucceeded, fsm.Recorded)
			h.reported(attemptKey{id, 8}, task.OutcomeSucceeded, fsm.Recorded)
		},
		"a success that is taken back": func(h *History) {
			h.reported(attemptKey{id, 7}, task.OutcomeSucceeded, fsm.Recorded)
			h.reported(attemptKey{id, 7}, task.OutcomeSucceeded, fsm.Superseded)
		},
		"a refused success that counts": func(h *History) {
			h.reported(attemptKey{id, 7}, task.OutcomeSucceeded, fsm.Superseded)
			h.reported(attemptKey{id, 7}, task.OutcomeSucceeded, fsm.Already)
		},
		"a granted task that is unknown": func(h *History) {
			h.reported(attemptKey{id, 7}, task.OutcomeSucceeded, fsm.Unknown)
		},
		"serial tasks at once": func(h *History) {
			h.ran(id, "w1", at(1), at(3))
			h.ran(task.ID{Job: 1, Index: 3}, "w2", at(2), at(4))
		},
		"digests that differ": func(h *History) {
			h.digest("n1", 5, 1)
			h.digest("n2", 5, 2)
		},
		"two leaders in a term": func(h *History) {
			h.leads("n1", 3)
			h.leads("n2", 3)
		},
	} {
		h := newHistory()
		notes(h)
		require.Len(t, h.problems, 1, name)
	}
}

func TestHistoryTakesWhatIsRight(t *testing.T) {
	t.Parallel()
	h := newHistory()
	id := task.ID{Job: 1, Index: 2}
	h.submitted("k", fsm.Result{Job: 1})
	h.submitted("k", fsm.Result{Job: 1, Existed: true})
	h.grant(id, 7)
	h.grant(id, 7) // sent again
	h.reported(attemptKey{id, 7}, task.OutcomeFailed, fsm.Recorded)
	h.reported(attemptKey{id, 7}, task.OutcomeFailed, fsm.Superseded) // another attempt is due
	h.grant(id, 8)
	h.reported(attemptKey{id, 8}, task.OutcomeSucceeded, fsm.Recorded)
	h.reported(attemptKey{id, 8}, task.OutcomeSucceeded, fsm.Already)
	h.ran(id, "w1", time.Unix(1, 0), time.Unix(2, 0))
	h.ran(id, "w2", time.Unix(2, 0), time.Unix(3, 0))
	h.digest("n1", 5, 1)
	h.digest("n2", 5, 1)
	h.leads("n1", 3)
	h.leads("n1", 3)
	h.leads("n2", 4)
	require.Empty(t, h.problems)
}
