package fsm_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/task"
)

// A view changes nothing, whatever waits and however many views are taken at once: the next view is the same. Only
// Advance puts in line what has become due.
func TestAViewChangesNothing(t *testing.T) {
	t.Parallel()
	const rounds, steps, viewers = 4, 150, 3
	shown := 0
	for seed := range uint64(rounds) {
		l := newLife(t, seed)
		for step := range steps {
			l.applyOps(l.ops())
			if step%10 == 0 {
				l.flush()
			}
			if step%2 == 0 { // otherwise the views follow an entry
				l.m.Advance(l.clock, l.r.Uint64N(2)*l.r.Uint64N(10))
			}
			before, digest := l.m.DumpDerived(), digestOf(l.m)
			from := l.r.Uint64N(2) * l.r.Uint64N(10)
			want := l.m.View(from, roomy)
			var views [viewers]*fsm.View
			var wg sync.WaitGroup
			for i := range views {
				wg.Go(func() { views[i] = l.m.View(from, roomy) })
			}
			wg.Wait()
			for _, v := range views {
				require.Equal(t, want, v)
			}
			require.Equal(t, before, l.m.DumpDerived())
			require.Equal(t, digest, digestOf(l.m))
			require.Empty(t, l.m.CheckInvariants())
			shown += len(want.Queues)
		}
	}
	require.Greater(t, shown, rounds*steps/2)
}

func digestOf(m *fsm.Machine) uint64 {
	_, digest := m.Digest()
	return digest
}

// After a worker has come, every class has to be checked for whether the worker can run it, even in a million
// queues. Advance checks as many queues as a view can show. The view ends there, and the next one continues.
func TestAdvanceLooksAtSoManyQueuesAtOnce(t *testing.T) {
	t.Parallel()
	const queues, most = 1000, 256
	b := newBundle(t)
	b.openAble("able", 1)
	for i := range queues {
		b.submit(&task.Spec{Command: []string{"nobody", "can"}, Queue: fmt.Sprintf("q%03d", i)}, 1)
	}
	b.submit(&task.Spec{Handler: "h", Queue: "r"}, 1)
	for _, label := range manyLabels(3) {
		from := uint64(0)
		for seen := most; seen < queues; seen += most {
			v, _ := b.m.AdvanceAndView(b.clock, from, roomy)
			require.Empty(t, v.Queues)
			require.EqualValues(t, 1+seen, v.Next)
			require.Empty(t, b.m.CheckInvariants())
			from = v.Next
		}
		v, _ := b.m.AdvanceAndView(b.clock, from, roomy)
		require.Len(t, v.Queues, 1)
		v = b.m.View(0, roomy)
		require.Len(t, v.Queues, 1, "without a change the view shows everything that was checked")
		require.Zero(t, v.Next)
		b.openAble(label.Key, 1, label)
		v = b.m.View(0, roomy)
		require.Empty(t, v.Queues, "they have to be checked first")
		require.EqualValues(t, 1, v.Next)
	}
}
