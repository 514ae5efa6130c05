//go:build linux

package worker

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

func exclusiveHandler(t testing.TB, job uint64, handler string) (*rotav1.Assignment, string) {
	t.Helper()
	dir := t.TempDir()
	a := handlerWork(job, 0, 1, handler)
	a.Work.Exclusive, a.Work.SharedPayload = true, []byte(dir)
	return a, dir
}

func TestExclusiveTasksEndWhenTheLeaseIsNotRenewed(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	d.lease = roomyLease
	startAgent(t, d, "")
	work, dir := exclusiveHandler(t, 1, "waits")
	plain, plainDir := exclusiveHandler(t, 2, "waits")
	plain.Work.Exclusive = false
	d.assign(t, work, plain)
	eventually(t, "they run", func() bool { return exists(dir+"/started0") && exists(plainDir+"/started0") })
	d.set(func() { d.noBeats = true })
	var why []byte
	eventually(t, "the exclusive one ends, and says why", func() bool {
		why, _ = os.ReadFile(dir + "/ended0")
		return len(why) > 0
	})
	require.Equal(t, ErrLease.Error(), string(why))
	require.Equal(t, rotav1.Outcome_OUTCOME_STOPPED, d.await(t, 1, 0).outcome)

	// With so little of the lease left no other one starts.
	next, nextDir := exclusiveHandler(t, 3, "waits")
	ordinary, ordinaryDir := exclusiveHandler(t, 4, "waits")
	ordinary.Work.Exclusive = false
	d.assign(t, next, ordinary)
	eventually(t, "the ordinary one starts", func() bool { return exists(ordinaryDir + "/started0") })
	require.NoFileExists(t, nextDir+"/started0")
	d.set(func() { d.noBeats = false })
	eventually(t, "it starts once the lease is renewed", func() bool { return exists(nextDir + "/started0") })
	require.NoFileExists(t, plainDir+"/ended0", "ordinary tasks go on")
}

func TestAnExclusiveHandlerThatDoesNotEndTakesTheAgentAlong(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	d.lease = roomyLease
	a := startAgent(t, d, "")
	work, dir := exclusiveHandler(t, 1, "hangs")
	d.assign(t, work)
	eventually(t, "it runs", func() bool { return exists(dir + "/started0") })
	d.set(func() { d.noBeats = true })
	select {
	case <-a.ended:
	case <-time.After(d.lease):
		require.Fail(t, "the agent outlived its lease")
	}
}

func TestAnExclusiveCommandRunsOnWhileTheLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	b := setupCommands(t, func(d *double) { d.lease = 6 * time.Second })
	a := shell(1, "sleep 7; echo done")
	a.Work.Exclusive = true
	b.assign(t, a)
	require.Equal(t, "done\n", b.await(t, 1, 0).output)
}

func TestBeatsSayWhetherExclusiveTasksAreHeld(t *testing.T) {
	t.Parallel()
	block := newBlocker()
	b := setup(t, Config{Slots: 1, Handlers: map[string]Handler{"h": block.run}})
	eventually(t, "a beat", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.beats) > 0 })
	a := handlerWork(1, 0, 1, "h")
	a.Work.Exclusive = true
	b.assign(t, a)
	<-block.started
	eventually(t, "a beat for exclusive tasks tells of the running one", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		last := b.beats[len(b.beats)-1]
		return last.GetExclusive() && len(last.GetRunning()) == 1 && last.GetRunning()[0].GetRunTime().AsDuration() > 0
	})
	b.set(func() { require.False(t, b.beats[0].GetExclusive()) })
	close(block.let)
	require.Equal(t, "done", b.await(t, 1, 0).output)
}
