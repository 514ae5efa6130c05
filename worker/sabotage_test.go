//go:build linux

package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/dirlock"
)

const sigStop = unix.SIGSTOP

// ancestors is a script that puts the processes above it, up to the agent, into $UP.
const ancestors = `UP=; p=$PPID; while [ $p != $AGENT ] && [ $p -gt 1 ]; do UP="$UP $p"; p=$(cut -d' ' -f4 /proc/$p/stat); done; `

func sabotage(job uint64, agent int, script string) *rotav1.Assignment {
	a := shell(job, ancestors+script)
	a.Work.GetCommand().Env = map[string]string{"AGENT": fmt.Sprint(agent)}
	return a
}

// neighbour is a task that runs until it is told to end, and says then whether it was started once.
func neighbour(t testing.TB, job uint64) (work *rotav1.Assignment, pid func() int, end func()) {
	dir := t.TempDir()
	a := shell(job, `echo $$ > "$DIR/pid"; while [ ! -e "$DIR/end" ]; do sleep 0.02; done; echo done`)
	a.Work.GetCommand().Env = map[string]string{"DIR": dir}
	return a, func() int { return pidIn(t, dir+"/pid") }, func() {
		require.NoError(t, os.WriteFile(dir+"/end", nil, 0o600))
	}
}

func TestATaskThatStopsItsGuardsIsEndedAllTheSame(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	other, pid, end := neighbour(t, 1)
	b.assign(t, other)
	pid()
	a := sabotage(2, os.Getpid(), "kill -STOP $UP; sleep 1000")
	a.Work.Timeout = durationpb.New(time.Second)
	b.assign(t, a)
	require.Equal(t, rotav1.Reason_REASON_TIMEOUT, b.await(t, 2, 0).reason)
	b.assign(t, shell(3, "echo next"))
	require.Equal(t, "next\n", b.await(t, 3, 0).output)
	end()
	require.Equal(t, "done\n", b.await(t, 1, 0).output, "its neighbour goes on")
}

func TestAnExclusiveTaskThatStopsItsGuardsDoesNotOutliveItsLease(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	d.lease = roomyLease
	a := startAgent(t, d, "")
	dir, mark := t.TempDir(), fmt.Sprintf("stops-%d", os.Getpid())
	work := sabotage(1, a.cmd.Process.Pid, `while :; do kill -STOP $UP; [ -e "$DIR/pid" ] || echo $$ > "$DIR/pid"; sleep 0.01; done & trap '' TERM; sleep 1000`)
	env := work.Work.GetCommand().Env
	env["DIR"], env["MARK"] = dir, mark
	work.Work.Exclusive = true
	d.assign(t, work)
	pidIn(t, dir+"/pid")
	d.set(func() { d.noBeats = true })
	ends := time.Now().Add(d.lease)
	for len(marked(t, mark)) > 0 {
		require.True(t, time.Now().Before(ends), "the command outlived its lease")
		time.Sleep(5 * time.Millisecond)
	}
}

func TestATaskThatKillsItsParentIsLostAlone(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	other, pid, end := neighbour(t, 1)
	b.assign(t, other)
	first := pid()
	mark := fmt.Sprintf("kills-%d", os.Getpid())
	for job := uint64(2); job < 6; job++ {
		a := shell(job, "setsid sleep 1000 & sleep 1000 & kill -9 $PPID; sleep 1000")
		a.Work.GetCommand().Env = map[string]string{"MARK": mark}
		b.assign(t, a)
		got := b.await(t, job, 0)
		require.Equal(t, rotav1.Outcome_OUTCOME_LOST, got.outcome)
		require.NotEmpty(t, got.err)
		require.Empty(t, marked(t, mark))
	}
	require.True(t, alive(first))
	end()
	require.Equal(t, "done\n", b.await(t, 1, 0).output)
}

func TestATaskThatKillsTheGuardHarmsNoNeighbour(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	other, pid, end := neighbour(t, 1)
	exclusive, exclusivePid, exclusiveEnd := neighbour(t, 2)
	exclusive.Work.Exclusive = true
	b.assign(t, other, exclusive)
	first, second := pid(), exclusivePid()
	for job := uint64(3); job < 6; job++ {
		b.assign(t, sabotage(job, os.Getpid(), `kill -9 ${UP##* }; sleep 0.2; echo mine`))
		b.await(t, job, 0)
		b.assign(t, shell(job+10, "echo next"))
		require.Equal(t, "next\n", b.await(t, job+10, 0).output)
	}
	require.True(t, alive(first))
	require.True(t, alive(second))
	end()
	exclusiveEnd()
	require.Equal(t, "done\n", b.await(t, 1, 0).output)
	require.Equal(t, "done\n", b.await(t, 2, 0).output)
}

// guardOf is the process between an agent and its tasks that is the agent's own child.
func guardOf(t testing.TB, agent int) int {
	t.Helper()
	found := 0
	eventually(t, "there is a guard", func() bool {
		stats, err := filepath.Glob("/proc/[0-9]*/stat")
		require.NoError(t, err)
		for _, path := range stats {
			b, _ := os.ReadFile(path)
			cmd, _ := os.ReadFile(filepath.Dir(path) + "/cmdline")
			f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
			if len(f) > 1 && f[1] == fmt.Sprint(agent) && strings.HasPrefix(string(cmd), "rota-guard") && f[0] != "Z" {
				_, err := fmt.Sscan(filepath.Base(filepath.Dir(path)), &found)
				return err == nil
			}
		}
		return false
	})
	return found
}

func TestTasksThatALostGuardNeverStartedAreGivenBack(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	a := startAgent(t, d, "")
	d.assign(t, shell(1, "true"))
	d.await(t, 1, 0)
	const tasks = 300
	for round := range 5 {
		work := shell(uint64(10+round), "true")
		work.Range.Count = tasks
		d.assign(t, work)
		eventually(t, "some have run", func() bool { return d.count() > round*tasks+50 })
		require.NoError(t, unix.Kill(guardOf(t, a.cmd.Process.Pid), unix.SIGKILL))
		eventually(t, "all are reported", func() bool { return d.count() == 1+(round+1)*tasks })
	}
	d.set(func() {
		for at, all := range d.reports {
			for _, r := range all {
				require.NotEqual(t, rotav1.Outcome_OUTCOME_FAILED, r.outcome, "%v: %v", at, r.err)
			}
		}
	})
}

func TestStoppedGuardsEndWithTheirAgent(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	dir := t.TempDir()
	a := startAgent(t, d, dir)
	mark, told := fmt.Sprintf("stopped-%d", os.Getpid()), t.TempDir()
	work := sabotage(1, a.cmd.Process.Pid, `kill -STOP ${UP##* }; kill -STOP $PPID; echo $$ > "$DIR/pid"; sleep 1000`)
	env := work.Work.GetCommand().Env
	env["DIR"], env["MARK"] = told, mark
	d.assign(t, work)
	pidIn(t, told+"/pid")
	a.signal(t, unix.SIGKILL)
	eventually(t, "the command has ended", func() bool { return len(marked(t, mark)) == 0 })
	eventually(t, "guard and keeper have ended", func() bool {
		lock, err := dirlock.Take(dir, guardLockFile)
		return err == nil && lock.Close() == nil
	})
}
