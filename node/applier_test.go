package node

import (
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/node/raftnet"
)

// newTestApplier is an applier of a state without a file.
func newTestApplier(t *testing.T, cfg applierConfig) *applier {
	cfg.state, cfg.flusher, cfg.clock, cfg.ending = newInMemory(), noBrake{}, &stateClock{}, t.Context()
	cfg.fatal = func(err error) { t.Error(err) }
	if cfg.placesChanged == nil {
		cfg.placesChanged = func() {}
	}
	return newApplier(cfg)
}

// The state never goes back. A newer state is taken over even if the received file could not be removed.
func TestRestoreTakesOverWhatIsNewer(t *testing.T) {
	t.Parallel()
	in := &received{}
	told := 0
	a := newTestApplier(t, applierConfig{received: in, placesChanged: func() { told++ }, snapshotBytes: 1 << 20})
	a.ApplyBatch([]*raft.Log{checkpoint(t, fsm.Version, 1), checkpoint(t, fsm.Version, 2)})
	require.Zero(t, told)
	for _, c := range []struct {
		reaches uint64
		err     error
		want    string
	}{
		{reaches: 1, want: "heal"}, {reaches: 2, want: "heal"}, {reaches: 3, want: "take over"}, {reaches: 3, err: errNobody, want: "take over"},
	} {
		in.at, in.err, in.called = store.SnapshotPlace{StateIndex: c.reaches}, c.err, nil
		before := told
		require.ErrorIs(t, a.Restore(nil), c.err)
		require.Equal(t, []string{c.want}, in.called)
		require.Equal(t, before+1, told, "there may be other servers")
		require.Zero(t, a.logFrom, "the log is counted from here")
	}
}

// Raft's log also has entries that the state machine does not see.
func TestASnapshotIsDueByBytesOfTheLog(t *testing.T) {
	t.Parallel()
	size := raftnet.EntrySize(checkpoint(t, fsm.Version, 11))
	var averages []int64
	a := newTestApplier(t, applierConfig{snapshotBytes: 3 * size, snapshotDue: func(average int64) { averages = append(averages, average) }})
	for index := uint64(11); index <= 29; index += 2 { // between any two is a barrier
		a.ApplyBatch([]*raft.Log{checkpoint(t, fsm.Version, index)})
		require.Len(t, averages, int(index-9)/6, "index %d", index)
	}
	require.Equal(t, []int64{3 * size / 5, size / 2, size / 2}, averages)
}
