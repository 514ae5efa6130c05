package worker

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/worker/report"
)

// slowQueue runs tasks on two slots until a time has passed. They arrive at once and take a time each.
// It returns what is held then, and which tasks were returned.
func slowQueue(t *testing.T, tasks uint32, each, passed time.Duration) (h *heldTasks, returned *task.RangeSet) {
	out := report.NewOutbox()
	h = newHeldTasks(2, out)
	// Thousands of no-ops before them, at another pace.
	h.assign([]*assignment{{grant: report.Grant{Job: 1}, work: &work{}, end: 5000}})
	for range 2500 {
		for _, s := range h.slots {
			require.True(t, h.next(s, newRun(t.Context())))
		}
	}
	for range looksPerPatience {
		h.returnUnreached(patience)
	}
	h.assign([]*assignment{{grant: report.Grant{Job: 2}, work: &work{}, end: tasks / 2}, {grant: report.Grant{Job: 2}, work: &work{}, next: tasks / 2, end: tasks}})
	look := patience / looksPerPatience
	for now := time.Duration(0); now < passed; now += each {
		for _, s := range h.slots {
			if h.waiting() > 0 {
				require.True(t, h.next(s, newRun(t.Context())))
			}
		}
		for at := now; at < now+each; at += min(each, look) {
			if at/look != (at-min(each, look))/look {
				h.returnUnreached(patience)
			}
			time.Sleep(min(each, look))
		}
	}
	returned = &task.RangeSet{}
	for m := out.Next(); m != nil; m = out.Next() {
		for _, g := range out.Settle(m.GetSeq()) {
			require.Equal(t, rotav1.Outcome_OUTCOME_RETURNED, g.GetOutcome())
			require.EqualValues(t, 2, g.GetJobId())
			require.Zero(t, g.GetTokenOffset())
			for _, r := range wire.RangesFromProto(g.GetRanges()) {
				returned.Add(r)
			}
		}
	}
	return h, returned
}

// If tasks take longer than those before them, they would wait behind each other for half a minute, unless somebody
// does something about it.
func TestWhatASlowQueueDoesNotReachIsReturned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const tasks = 2048
		h, returned := slowQueue(t, tasks, 50*time.Millisecond, 3*time.Second)
		ranges := slices.Collect(returned.All())
		require.Len(t, ranges, 1)
		back := ranges[0]
		require.EqualValues(t, tasks, back.End(), "the last ones go back")
		require.Less(t, back.First, uint32(150), "two slots do forty a second")
		require.Greater(t, back.First, uint32(60), "what will be reached soon stays")
		require.Less(t, h.waiting(), int64(60))
	})
}

func TestAQueueThatIsWorkedOffInTimeStays(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		tasks uint32
		each  time.Duration
	}{
		"short tasks":          {2000, 500 * time.Microsecond},
		"nearly a second":      {30, 50 * time.Millisecond},
		"longer than patience": {50, 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, returned := slowQueue(t, tc.tasks, tc.each, 3*time.Second)
				require.True(t, returned.Empty())
				require.Zero(t, h.waiting())
			})
		})
	}
}

func TestAQueueKeepsItsFirstTasks(t *testing.T) {
	t.Parallel()
	for n := range 12 {
		q := &assignmentQueue{}
		var packed []byte
		for _, v := range []string{"a", "b", "c", "d"} {
			packed = task.PackAppend(packed, []byte(v))
		}
		q.push(&assignment{end: 3})
		q.push(&assignment{next: 5, end: 9, packed: packed})
		q.push(&assignment{next: 20, end: 23})
		gone := q.keepFirst(n)
		require.EqualValues(t, min(n, 10), q.tasks.Load())
		left, back := 0, 0
		for _, s := range q.list {
			left += s.len()
		}
		for _, s := range gone {
			back += s.len()
		}
		require.Equal(t, min(n, 10), left)
		require.Equal(t, 10-left, back)
		if n == 5 {
			r := &run{}
			gone[0].work = &work{}
			gone[0].take(r)
			require.Equal(t, "c", string(r.task.Payload), "payloads stay with their tasks")
		}
	}
}
