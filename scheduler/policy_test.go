package scheduler

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rota-scheduler/rota/fsm"
)

// The least loaded worker is the one that a search through all of them would find, whatever was granted in between,
// and for each kind of task.
func TestLeastLoadedIsTheLeastLoaded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := make([]*worker, rapid.IntRange(0, 40).Draw(t, "workers"))
		for i := range all {
			slots := rapid.Uint32Range(1, 6).Draw(t, "slots")
			all[i] = &worker{
				SessionView: &fsm.SessionView{ID: uint64(i), Slots: slots},
				load:        rapid.Uint32Range(0, 8).Draw(t, "load"), limit: slots + rapid.Uint32Range(0, 5).Draw(t, "extra"),
			}
		}
		c := &candidates{workers: all}
		for range 100 {
			exclusive := rapid.Bool().Draw(t, "exclusive")
			var want *worker
			for _, w := range all {
				if w.room(exclusive) > 0 && (want == nil || w.load*want.Slots < want.load*w.Slots) {
					want = w
				}
			}
			require.Same(t, want, leastLoaded(c, exclusive, 0, 0))
			if r := random(c, exclusive, rapid.Uint64().Draw(t, "seed"), 0); want == nil {
				require.Nil(t, r)
			} else {
				require.Positive(t, r.room(exclusive))
			}
			if len(all) == 0 {
				return
			}
			given := want
			if given == nil || rapid.IntRange(0, 3).Draw(t, "to another") == 0 {
				given = all[rapid.IntRange(0, len(all)-1).Draw(t, "other")]
			}
			given.load += min(given.room(false), rapid.Uint32Range(1, 3).Draw(t, "given"))
		}
	})
}
