package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// slowQueue runs tasks of so long each on two slots, of which so many arrive at once, until so
// much time has passed, and returns the board and what was given back.
func slowQueue(t *testing.T, tasks uint32, each, passed time.Duration) (b *board, returned *indexSet) {
	out := newOutbox()
	b = newBoard(2, out)
	// Thousands of no-ops before them, at another pace.
	b.assign([]*span{{key: key{job: 1}, work: &work{}, end: 5000}})
	for range 2500 {
		for _, s := range b.slots {
			require.True(t, b.next(s, newRun(t.Context())))
		}
	}
	for range looksPerPatience {
		b.relieve(patience)
	}
	b.assign([]*span{{key: key{job: 2}, work: &work{}, end: tasks / 2}, {key: key{job: 2}, work: &work{}, next: tasks / 2, end: tasks}})
	look := patience / looksPerPatience
	for now := time.Duration(0); now < passed; now += each {
		for _, s := range b.slots {
			if b.waiting() > 0 {
				require.True(t, b.next(s, newRun(t.Context())))
			}
		}
		for at := now; at < now+each; at += min(each, look) {
			if at/look != (at-min(each, look))/look {
				b.relieve(patience)
			}
			time.Sleep(min(each, look))
		}
	}
	returned = &indexSet{}
	for _, g := range out.open {
		require.Equal(t, rotav1.Outcome_OUTCOME_RETURNED, g.kind.outcome)
		require.Equal(t, key{job: 2}, g.key)
		for _, r := range g.ranges {
			returned.add(r)
		}
	}
	return b, returned
}

// Tasks that turn longer than those before them wait behind each other for half a minute, if
// nobody does anything about it.
func TestWhatASlowQueueDoesNotReachIsReturned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const tasks = 2048
		b, returned := slowQueue(t, tasks, 50*time.Millisecond, 3*time.Second)
		require.Len(t, returned.ranges, 1)
		back := returned.ranges[0]
		require.EqualValues(t, tasks, back.end, "the last ones go back")
		require.Less(t, back.first, uint32(150), "two slots do forty a second")
		require.Greater(t, back.first, uint32(60), "what will be reached soon stays")
		require.Less(t, b.waiting(), int64(60))
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
				b, returned := slowQueue(t, tc.tasks, tc.each, 3*time.Second)
				require.Empty(t, returned.ranges)
				require.Zero(t, b.waiting())
			})
		})
	}
}

func TestCutKeepsTheFirst(t *testing.T) {
	t.Parallel()
	for n := range 12 {
		q := &spanQueue{}
		var packed []byte
		for _, v := range []string{"a", "b", "c", "d"} {
			packed = task.PackAppend(packed, []byte(v))
		}
		q.push(&span{end: 3})
		q.push(&span{next: 5, end: 9, packed: packed})
		q.push(&span{next: 20, end: 23})
		gone := q.cut(n)
		require.EqualValues(t, min(n, 10), q.tasks.Load())
		left, back := 0, 0
		for _, s := range q.spans {
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
