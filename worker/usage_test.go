package worker

import (
	"os"
	"path/filepath"
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

func TestCommandsTellWhatTheyHaveUsed(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	// A shell that waits for a child: what both have used counts.
	b.assign(t, shell(1, "head -c 40000000 /dev/zero | tail -c 30000000 >/dev/null; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"))
	got := b.await(t, 1, 0)
	require.Greater(t, got.usage.PeakMemory, uint64(20<<20))
	require.Less(t, got.usage.PeakMemory, uint64(1<<30))
	require.Positive(t, got.usage.CPUTime)
}

// sentNowhere is a stream that takes what is sent.
type sentNowhere struct{ sessionStream }

func (sentNowhere) Send(*rotav1.SessionRequest) error { return nil }

// TestAKillForWantOfMemoryIsSaidToBeOne, where the kernel's count has risen, for each command that it may
// have killed.
func TestAKillForWantOfMemoryIsSaidToBeOne(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "memory.events")
	count := func(text string) {
		require.NoError(t, os.WriteFile(path, []byte("low 0\noom 3\noom_kill "+text+"\n"), 0o600))
	}
	count("2")
	w := &Worker{kills: kills{path: path, count: 2}, board: newBoard(1, newOutbox())}
	w.board.slots = []*slot{{current: &run{}}}
	silence := newWatchdog(func() {})
	defer silence.disarm()
	killed := func(err string) string {
		res := &result{kind: kind{hasExit: true, exit: killedExit}, err: err}
		w.hint(res)
		return res.err
	}
	require.Equal(t, "killed by signal SIGKILL, which rota did not send; the kernel does where memory runs out", killed("killed by signal SIGKILL"))
	require.Equal(t, "exit code 137", killed("exit code 137"))
	count("4")
	for range 2 {
		require.Equal(t, "killed by signal SIGKILL: the kernel has killed a process here just now for want of memory", killed("killed by signal SIGKILL"))
		require.Equal(t, "exit code 137: the kernel has killed a process here just now for want of memory", killed("exit code 137"))
	}
	other := &result{kind: kind{hasExit: true, exit: 7}, err: "exit code 7"}
	w.hint(other)
	require.Equal(t, "exit code 7", other.err)
	count("5")
	require.NoError(t, w.sendBeat(sentNowhere{}, silence))
	w.kills.rose -= killsTogether
	require.Equal(t, "exit code 137", killed("exit code 137"), "a beat before this one has seen that kill")
	require.NoError(t, os.Remove(path))
	w.kills = kills{path: path, count: 2}
	require.False(t, w.kills.explain(), "what cannot be read explains nothing")
	w.kills.path = ""
	w.kills.begin()
	if w.kills.path != "" {
		_, err := readKills(w.kills.path)
		require.NoError(t, err)
	}
}
