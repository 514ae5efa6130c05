package transport

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
)

// TestAWorkerIsNeverMadeToKeepMoreThanItSays, and what the server believes to be kept is what it sent last.
func TestAWorkerIsNeverMadeToKeepMoreThanItSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		slots, limit := rapid.Uint32Range(0, 5).Draw(t, "slots"), rapid.Uint64Range(0, 100).Draw(t, "bytes")
		w := newWorks(&rotav1.Hello{WorkSlots: slots, WorkBytes: limit})
		type held struct {
			id   fsm.SpecID
			size int
		}
		worker := map[uint32]held{}
		for range rapid.IntRange(1, 60).Draw(t, "works") {
			id := fsm.SpecID{byte(rapid.IntRange(1, 9).Draw(t, "id"))}
			size := int(id[0]) * 7
			if n := w.number(id); n != 0 {
				require.Equal(t, held{id, size}, worker[n])
				continue
			}
			n, forget := w.keep(id, size)
			for _, old := range forget {
				require.Contains(t, worker, old)
				delete(worker, old)
			}
			if n == 0 {
				require.True(t, slots == 0 || uint64(size) > limit)
				continue
			}
			require.LessOrEqual(t, n, slots)
			worker[n] = held{id, size}
			sum := 0
			for _, h := range worker {
				sum += h.size
			}
			require.LessOrEqual(t, uint64(sum), limit)
			require.Equal(t, sum, w.size)
			require.Equal(t, n, w.number(id))
		}
	})
}

func TestWhatWasUsedLastIsKept(t *testing.T) {
	t.Parallel()
	w := newWorks(&rotav1.Hello{WorkSlots: 2, WorkBytes: 100})
	a, b, c := fsm.SpecID{1}, fsm.SpecID{2}, fsm.SpecID{3}
	for _, id := range []fsm.SpecID{a, b} {
		require.Zero(t, w.number(id))
		w.keep(id, 40)
	}
	require.NotZero(t, w.number(a))
	require.Zero(t, w.number(c))
	n, forget := w.keep(c, 20)
	require.Empty(t, forget, "it takes the place of b")
	require.EqualValues(t, 2, n)
	require.NotZero(t, w.number(a))
	require.Zero(t, w.number(b))
	n, forget = w.keep(b, 60)
	require.Equal(t, []uint32{2}, forget, "there is no room for all three")
	require.EqualValues(t, 2, n)
	require.NotZero(t, w.number(a))
}
