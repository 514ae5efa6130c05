//go:build linux

package worker

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

// escape is a script that leaves two processes behind which are in no group and no session of
// its own: a child, and one whose parents have ended. Both tell their ids.
const escape = `
setsid sh -c 'echo $$ > "$DIR/a"; exec sleep 1000' >/dev/null 2>&1 &
setsid sh -c '(echo $(sh -c "echo \$PPID") > "$DIR/b"; exec sleep 1000) &' >/dev/null 2>&1
while [ ! -s "$DIR/a" ] || [ ! -s "$DIR/b" ]; do sleep 0.01; done
echo $$ > "$DIR/pid"; `

func escapeWork(job uint64, dir, then string) *rotav1.Assignment {
	a := shell(job, escape+then)
	a.Work.GetCommand().Env = map[string]string{"DIR": dir}
	return a
}

// escaped waits for both processes and returns their ids.
func escaped(t testing.TB, dir string) []int {
	t.Helper()
	pidIn(t, dir+"/pid")
	return []int{pidIn(t, dir+"/a"), pidIn(t, dir+"/b")}
}

func TestWhatLeftItsGroupEndsWithAnExclusiveTask(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	dir := t.TempDir()
	a := escapeWork(1, dir, "echo done")
	a.Work.Exclusive = true
	b.assign(t, a)
	require.Equal(t, "done\n", b.await(t, 1, 0).output)
	for _, pid := range escaped(t, dir) {
		require.False(t, alive(pid), "it runs beside the next task")
	}
}

func TestWhatLeftItsGroupEndsWithAStoppedTask(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	cancelled, late := t.TempDir(), t.TempDir()
	timed := escapeWork(2, late, "sleep 1000")
	timed.Work.Timeout = durationpb.New(10 * time.Second) // by then it has left its group
	b.assign(t, escapeWork(1, cancelled, "sleep 1000"), timed)
	pids := append(escaped(t, cancelled), escaped(t, late)...)
	b.stop(t, held(1, 0, 1))
	require.Equal(t, rotav1.Outcome_OUTCOME_STOPPED, b.await(t, 1, 0).outcome)
	require.Equal(t, rotav1.Reason_REASON_TIMEOUT, b.await(t, 2, 0).reason)
	for _, pid := range pids {
		require.False(t, alive(pid))
	}
}

func TestWhatLeftItsGroupEndsWithItsAgent(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	a := startAgent(t, d, "")
	dir := t.TempDir()
	d.assign(t, escapeWork(1, dir, "sleep 1000"))
	pids := escaped(t, dir)
	require.NoError(t, a.cmd.Process.Kill())
	eventually(t, "they have ended", func() bool { return !alive(pids[0]) && !alive(pids[1]) })
}

func TestWhatLeftItsGroupEndsWhenTheLeaseDoes(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	d.lease = roomyLease
	a := startAgent(t, d, "")
	dir := t.TempDir()
	work := escapeWork(1, dir, "sleep 1000")
	work.Work.Exclusive = true
	d.assign(t, work)
	pids := escaped(t, dir)
	a.signal(t, sigStop)
	ends := time.Now().Add(d.lease)
	for alive(pids[0]) || alive(pids[1]) {
		require.True(t, time.Now().Before(ends), "they outlived the lease")
		time.Sleep(5 * time.Millisecond)
	}
}

// What an ordinary task leaves running on purpose goes on, whatever becomes of the tasks that
// come after it.
func TestADaemonThatATaskStartedGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Slots: 1, Commands: true})
	dir, other := t.TempDir(), t.TempDir()
	b.assign(t, escapeWork(1, dir, "echo done"))
	require.Equal(t, "done\n", b.await(t, 1, 0).output)
	daemons := escaped(t, dir)
	defer func() {
		for _, pid := range daemons {
			p, err := os.FindProcess(pid)
			require.NoError(t, err)
			require.NoError(t, p.Kill())
		}
	}()
	exclusive := escapeWork(2, other, "echo done")
	exclusive.Work.Exclusive = true
	late := shell(3, "sleep 1000")
	late.Work.Timeout = durationpb.New(100 * time.Millisecond)
	b.assign(t, exclusive, late)
	b.await(t, 2, 0)
	b.await(t, 3, 0)
	for _, pid := range escaped(t, other) {
		require.False(t, alive(pid))
	}
	b.end()
	require.NoError(t, <-b.done)
	for _, pid := range daemons {
		require.True(t, alive(pid), fmt.Sprint(pid))
	}
}
