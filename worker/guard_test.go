//go:build linux

package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/dirlock"
	"github.com/rota-scheduler/rota/internal/sealedfile"
)

// family is a script that makes children which ignore SIGTERM, and tells that they run.
const family = `trap '' TERM; (trap '' TERM; sleep 1000) & (sleep 1000; sleep 1000) & echo $$ > "$DIR/pid"; wait; sleep 1000`

func familyWork(job uint64, dir, mark string) *rotav1.Assignment {
	a := shell(job, family)
	a.Work.GetCommand().Env = map[string]string{"DIR": dir, "MARK": mark}
	return a
}

func TestAKilledAgentLeavesNoProcess(t *testing.T) {
	t.Parallel()
	for _, first := range []unix.Signal{0, unix.SIGSTOP} {
		d := newDouble(t)
		a := startAgent(t, d, "")
		dir, mark := t.TempDir(), fmt.Sprintf("killed-%d-%d", os.Getpid(), first)
		d.assign(t, familyWork(1, dir, mark))
		pidIn(t, dir+"/pid")
		// A child shows its environment only once it has been started whole.
		eventually(t, "the family runs", func() bool { return len(marked(t, mark)) >= 3 })
		if first != 0 {
			a.signal(t, first)
		}
		a.signal(t, unix.SIGKILL)
		eventually(t, "all processes are gone", func() bool { return len(marked(t, mark)) == 0 })
	}
}

func TestAnAgentKilledWhileItStartsCommandsLeavesNoProcess(t *testing.T) {
	t.Parallel()
	for round := range 8 {
		d := newDouble(t)
		a := startAgent(t, d, "")
		mark := fmt.Sprintf("storm-%d-%d-", os.Getpid(), round)
		work := shell(1, "sleep 1000 & sleep 1000 & exit 0")
		work.Range.Count = 4000
		work.Work.GetCommand().Env = map[string]string{"MARK": mark}
		d.assign(t, work)
		eventually(t, "commands run", func() bool { return d.count() > 20*round })
		a.signal(t, unix.SIGKILL)
		eventually(t, "all processes are gone", func() bool { return len(marked(t, mark)) == 0 })
	}
}

func TestAnAgentThatIsPausedLosesItsExclusiveCommandsBeforeTheLeaseEnds(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	d.lease = roomyLease
	a := startAgent(t, d, "")
	dir, mark := t.TempDir(), fmt.Sprintf("paused-%d", os.Getpid())
	work := familyWork(1, dir, mark+"-exclusive")
	work.Work.Exclusive = true
	plain := t.TempDir()
	d.assign(t, work, familyWork(2, plain, mark+"-plain"))
	pidIn(t, dir+"/pid")
	pidIn(t, plain+"/pid")
	a.signal(t, unix.SIGSTOP)
	// No beat is sent from here on, so the lease ends within its length.
	ends := time.Now().Add(d.lease)
	for len(marked(t, mark+"-exclusive")) > 0 {
		require.True(t, time.Now().Before(ends), "the command outlived its lease")
		time.Sleep(5 * time.Millisecond)
	}
	require.NotEmpty(t, marked(t, mark+"-plain"), "others go on")
	a.signal(t, unix.SIGCONT)
	require.Equal(t, rotav1.Outcome_OUTCOME_STOPPED, d.await(t, 1, 0).outcome)
	require.Empty(t, d.of(2, 0))
}

func TestAnAgentThatIsPausedInAnExclusiveHandlerIsKilled(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	d.lease = roomyLease
	a := startAgent(t, d, "")
	work := handlerWork(1, 0, 1, "waits")
	work.Work.Exclusive, work.Work.SharedPayload = true, []byte(t.TempDir())
	d.assign(t, work)
	eventually(t, "the handler runs", func() bool { return exists(string(work.Work.GetSharedPayload()) + "/started0") })
	a.signal(t, unix.SIGSTOP)
	select {
	case <-a.ended:
	case <-time.After(d.lease):
		require.Fail(t, "the agent outlived its lease")
	}
}

func TestASecondWorkerInADataFolderIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := setup(t, Config{Slots: 1, Commands: true, DataDir: dir})
	b.assign(t, shell(1, "true"))
	b.await(t, 1, 0)
	w, err := New(Config{Addrs: []string{b.addr}, Slots: 1, Commands: true, DataDir: dir})
	require.NoError(t, err)
	require.ErrorContains(t, w.Run(t.Context()), "is in use by another worker process")
}

func TestIdentityOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := newDouble(t)
	a := startAgent(t, d, dir)
	eventually(t, "the session is noted", func() bool {
		saved, _, err := sealedfile.Read[savedIdentity](filepath.Join(dir, identityFile))
		return err == nil && d.sessions() == 1 && saved.SessionID == 1
	})
	a.signal(t, unix.SIGKILL)
	<-a.ended
	startAgent(t, d, dir)
	eventually(t, "the next process says hello", func() bool { return d.sessions() == 2 })
	d.set(func() {
		one, two := d.hellos[0], d.hellos[1]
		require.Equal(t, one.GetWorkerId(), two.GetWorkerId())
		require.NotEqual(t, one.GetBootNonce(), two.GetBootNonce())
		require.Zero(t, one.GetReplaces())
		require.Equal(t, uint64(1), two.GetReplaces())
		require.Equal(t, one.GetBootNonce(), two.GetReplacesNonce(), "the next process cannot prove that the session was its own")
		require.Zero(t, two.GetSessionId())
	})
}

func TestTheNextAgentWaitsForTheGuardOfTheLast(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	guard, err := dirlock.Take(dir, guardLockFile)
	require.NoError(t, err)
	w, err := New(Config{Addrs: []string{"127.0.0.1:1"}, Slots: 1, Commands: true, DataDir: dir})
	require.NoError(t, err)
	ctx, cancel := contextWithTimeout(t, 100*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, w.Run(ctx), "wait for the guard")
	require.NoError(t, guard.Close())
	b := setup(t, Config{Slots: 1, Commands: true, DataDir: dir})
	b.assign(t, shell(1, "true"))
	b.await(t, 1, 0)
}
