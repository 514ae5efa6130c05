package scheduler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// hall is a desk with queues of long jobs, which watches who is served before whom.
type hall struct {
	*desk
	// queues is the queue of each job, and can says at which sessions a queue could be served.
	queues map[uint64]string
	can    map[string][]uint64
	// passed has, by queue, the queues that were given what it could have used since it was served itself.
	passed map[string]map[string]bool
	served map[string]int
	// wrong is the cases in which a queue passed another one twice before that one was served.
	wrong []string
}

func newHall(t testing.TB) *hall {
	return &hall{desk: newDesk(t), queues: map[uint64]string{}, can: map[string][]uint64{}, passed: map[string]map[string]bool{}, served: map[string]int{}}
}

// labelled is a worker with these labels.
func (h *hall) labelled(slots uint32, labels ...string) uint64 {
	s := &logpb.Session{Slots: slots, Handlers: []string{"h"}}
	for _, l := range labels {
		s.Labels = append(s.Labels, &logpb.Pair{Key: l, Value: "yes"})
	}
	return h.worker(s)
}

// queue submits a job of so many tasks to a queue, for workers that have a label; "": for any. at is the
// sessions that could run it.
func (h *hall) queue(name, label string, count uint32, serial bool, at ...uint64) {
	spec := &task.Spec{Handler: "h", Queue: name, Serial: serial}
	if label != "" {
		spec.Require = []task.Pair{{Key: label, Value: "yes"}}
	}
	h.queues[h.submit(spec, count)] = name
	h.can[name], h.passed[name] = at, map[string]bool{}
}

// turn grants everything that is free, and watches.
func (h *hall) turn() {
	h.t.Helper()
	for {
		from := len(h.granted)
		op, idle := h.next.Plan(h.m, h.f, int64(h.index))
		if op == nil {
			if idle {
				return
			}
			continue
		}
		require.Zero(h.t, h.apply(op).Refused)
		h.watch(h.granted[from:])
	}
}

// watch looks at what one plan has granted.
func (h *hall) watch(grants []fsm.Grant) {
	served := map[string]bool{}
	for _, g := range grants {
		queue := h.queues[g.Job]
		h.served[queue] += int(g.Count)
		served[queue] = true
		h.passed[queue] = map[string]bool{}
	}
	for queue, at := range h.can {
		passes := map[string]bool{}
		for _, g := range grants {
			if !served[queue] && slices.Contains(at, g.Session) {
				passes[h.queues[g.Job]] = true
			}
		}
		for other := range passes {
			if h.passed[queue][other] {
				h.wrong = append(h.wrong, fmt.Sprintf("queue %s passes queue %s twice", other, queue))
			}
			h.passed[queue][other] = true
		}
	}
}

// Each round frees one worker that queue zzz could use, and another one that it could not. The first one must not
// always go to another queue.
func TestAQueueThatNeedsOneWorkerIsNotPassedForEver(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	first, second := h.labelled(1, "first"), h.labelled(1)
	const deep, rounds = 1000, 30
	h.queue("default", "", deep, false, first, second)
	h.queue("zzz", "first", deep, false, first)
	h.queue("aaa", "", deep, false, first, second)
	for range rounds {
		h.turn()
		h.finish(first)
		h.finish(second)
	}
	require.Empty(t, h.wrong)
	require.GreaterOrEqual(t, h.served["zzz"], rounds/3, "%v", h.served)
}

// Queues that wait for a slot which does not become free keep their places, and the others take turns as
// if they were not there; however many wait. When it becomes free, it is theirs.
func TestQueuesThatCannotBeServedFixNobodysOrder(t *testing.T) {
	t.Parallel()
	for _, waiting := range []int{2, 600} {
		h := newHall(t)
		taken, w := h.labelled(1, "exclusive"), h.labelled(1, "others")
		busy := uint64(1)
		h.f.Ran(taken, Run{Job: busy, Count: 100, Total: 100 * time.Millisecond}) // it has room, but no slot
		h.f.Ran(w, Run{Job: busy, Count: 100, Total: 100 * time.Second})
		h.queue("busy", "exclusive", 1, false)
		h.turn()
		const deep, rounds = 1000, 30
		for i := range waiting {
			h.queue(fmt.Sprintf("m%03d", i), "exclusive", 2, true, taken)
		}
		for _, q := range []string{"zzz", "default", "aaa"} {
			h.queue(q, "others", deep, false, w)
		}
		for range rounds {
			h.turn()
			h.finish(w)
		}
		for _, q := range []string{"zzz", "default", "aaa"} {
			require.Equal(t, rounds/3, h.served[q], "%v", h.served)
		}
		for range 2 {
			h.finish(taken)
			h.turn()
		}
		require.Equal(t, 1, h.served["m000"])
		require.Equal(t, 1, h.served["m001"])
		require.Empty(t, h.wrong)
	}
}

// If a view has nothing to give and does not show all, the next ones show the rest, each queue once. Then there is
// nothing to do. After a grant the next view begins with the first queue again.
func TestViewsGoOnUntilAllQueuesWereSeen(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	taken, w := h.labelled(1, "exclusive"), h.labelled(1, "others")
	h.f.Ran(taken, Run{Job: 1, Count: 100, Total: 100 * time.Millisecond})
	h.queue("busy", "exclusive", 1, false)
	h.turn()
	const waiting, shown = 600, 256
	for i := range waiting {
		h.queue(fmt.Sprintf("m%03d", i), "exclusive", 1, true)
	}
	const nothing = (waiting + shown - 1) / shown // views of them
	for range 3 {
		h.views = 0
		require.Empty(t, h.plan())
		require.Equal(t, nothing, h.views)
	}
	h.queue("a", "others", 1, false, w)
	h.views = 0
	require.Len(t, h.plan(), 1)
	require.Equal(t, 2*nothing, h.views)
}

// A job that waits for a slot of its own keeps others from taking tasks in advance. When it ends, the loop is woken.
func TestTheEndOfAJobThatKeptASlotWakesTheLoop(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	w := h.labelled(1)
	h.f.Ran(w, Run{Job: 1, Count: 100, Total: 100 * time.Millisecond})
	h.queue("busy", "", 1, false)
	h.plan()
	h.queue("serial", "", 1, true)
	h.queue("other", "", 100, false)
	require.Empty(t, h.plan())
	h.f.Woken()
	h.apply(&logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: 2, Reason: uint32(task.ReasonUser)}}})
	require.True(t, h.f.Woken())
	require.NotEmpty(t, h.plan())
}

// A stream of new queues does not keep an old one waiting.
func TestNewQueuesStandBehindOldOnes(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	w := h.labelled(1)
	h.queue("b", "", 1000, false, w)
	h.turn()
	h.queue("zzz", "", 1000, false, w)
	for i := range 20 {
		h.queue(fmt.Sprintf("new%02d", i), "", 1, false, w)
		h.finish(w)
		h.turn()
	}
	require.Positive(t, h.served["zzz"])
}

// Whichever queue can use which workers, and whenever these become free: until a queue is served, each other queue
// gets at most once what this one could have used.
func TestNoQueuePassesAnotherOneTwice(t *testing.T) {
	t.Parallel()
	labels := []string{"a", "b", "c", "d"}
	rapid.Check(t, func(r *rapid.T) {
		h := newHall(t)
		byLabel, workers := map[string][]uint64{}, []uint64(nil)
		for range rapid.IntRange(1, 5).Draw(r, "workers") {
			mine := rapid.SliceOfNDistinct(rapid.SampledFrom(labels), 0, len(labels), rapid.ID[string]).Draw(r, "labels")
			w := h.labelled(uint32(rapid.IntRange(1, 3).Draw(r, "slots")), mine...)
			workers = append(workers, w)
			for _, l := range append(mine, "") {
				byLabel[l] = append(byLabel[l], w)
			}
		}
		queue := func(i int) {
			label := rapid.SampledFrom(append([]string{""}, labels...)).Draw(r, "needs")
			at := byLabel[label]
			serial := rapid.IntRange(0, 4).Draw(r, "kind") == 0
			if serial {
				at = nil // grants do not pass it where it waits for a slot
			}
			h.queue(fmt.Sprintf("%c%d", 'z'-i, i), label, 400, serial, at...)
		}
		queues := rapid.IntRange(2, 6).Draw(r, "queues")
		for i := range queues {
			queue(i)
		}
		for range 40 {
			h.turn()
			for _, w := range rapid.SliceOfNDistinct(rapid.SampledFrom(workers), 0, len(workers), rapid.ID[uint64]).Draw(r, "free") {
				h.finishHalf(w)
			}
			if queues < 12 && rapid.IntRange(0, 9).Draw(r, "new") == 0 {
				queue(queues)
				queues++
			}
		}
		require.Empty(r, h.wrong)
		require.Empty(r, h.m.CheckInvariants())
	})
}
