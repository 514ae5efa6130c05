package scheduler

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Jobs that come alone go round workers that are alike, and always in the same way:
// the order of the machine's maps is not in it.
func TestSingleTasksGoRoundIdleWorkers(t *testing.T) {
	t.Parallel()
	const workers, rounds = 4, 5
	spec := &task.Spec{Handler: "h"}
	spec.SetDefaults()
	for range 10 { // each machine has its maps in another order
		m := fsm.New(noHistory{}, fsm.NewWatchers())
		f := NewFleet(10 * time.Second)
		f.Begin(nil)
		for i := range uint64(workers) {
			data, err := fsm.EncodeEntry(1, []*logpb.Op{{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{
				Session: &logpb.Session{Worker: string(rune('a' + i)), Nonce: []byte("1"), Slots: 2, Handlers: []string{"h"}},
			}}}})
			require.NoError(t, err)
			_, err = m.Apply(i+1, 1, data)
			require.NoError(t, err)
			require.True(t, f.Attach(i+1, &quiet{}))
		}
		var got, want []uint64
		for i := range uint64(workers * rounds) {
			assigns, done := f.Place(m, spec, 1)
			require.Len(t, assigns, 1)
			got, want = append(got, assigns[0].Session), append(want, i%workers+1)
			done() // it ends at once
		}
		require.Equal(t, want, got)
	}
}
