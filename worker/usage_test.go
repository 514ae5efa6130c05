package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// usages returns what the tasks of a group have used, by index.
func usages(t *testing.T, g *rotav1.ReportGroup) map[uint32]task.Usage {
	t.Helper()
	out := map[uint32]task.Usage{}
	rest := g.GetPackedUsage()
	for _, r := range g.GetRanges() {
		for i := range r.GetCount() {
			encoded, behind, ok := task.PackNext(rest)
			require.True(t, ok)
			out[r.GetFirst()+i], rest = task.ParseUsage(encoded), behind
		}
	}
	require.Empty(t, rest)
	return out
}

func TestWhatTasksHaveUsedStaysTheirsInAGroup(t *testing.T) {
	t.Parallel()
	used := func(i uint32) task.Usage {
		if i%3 == 0 {
			return task.Usage{}
		}
		return task.Usage{PeakMemory: uint64(i) << 20, CPUTime: time.Duration(i) * time.Millisecond}
	}
	for _, outputs := range []bool{false, true} {
		o := newOutbox()
		want := map[uint32]task.Usage{}
		for _, i := range []uint32{6, 3, 7, 1, 2, 9, 8} { // as they end
			res := &result{kind: kind{outcome: rotav1.Outcome_OUTCOME_SUCCEEDED}, usage: used(i)}
			if outputs {
				res.output = []byte{byte(i)}
			}
			o.add(key{1, 100}, i, res, false)
			want[i] = used(i)
		}
		m := o.next()
		require.Len(t, m.GetGroups(), 1)
		require.Equal(t, want, usages(t, m.Groups[0]))
	}
}

func TestUsageThatNobodyKnowsTakesNoRoom(t *testing.T) {
	t.Parallel()
	o := newOutbox()
	for i := range uint32(10) {
		o.add(key{1, 100}, i, &result{kind: kind{outcome: rotav1.Outcome_OUTCOME_SUCCEEDED}}, false)
	}
	require.Empty(t, o.next().Groups[0].GetPackedUsage())
}

// sentNowhere is a stream that takes what is sent.
type sentNowhere struct{ sessionStream }

func (sentNowhere) Send(*rotav1.SessionRequest) error { return nil }

// A kill of this morning explains nothing that happens tonight, so it is noted while it is new.
func TestABeatOfARunningTaskNotesKills(t *testing.T) {
	t.Parallel()
	noted := 0
	w := &Worker{board: newBoard(1, newOutbox()), noteKills: func() { noted++ }}
	silence := newWatchdog(func() {})
	defer silence.disarm()
	require.NoError(t, w.sendBeat(sentNowhere{}, silence))
	require.Zero(t, noted, "nothing runs that could be killed")
	w.board.slots = []*slot{{current: &run{}}}
	require.NoError(t, w.sendBeat(sentNowhere{}, silence))
	require.Equal(t, 1, noted)
}
