//go:build linux

package worker

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/smalldisk"
	"github.com/rota-scheduler/rota/task"
)

// trouble is the problem that the worker reports in its newest beat.
func (d *double) trouble() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.beats) == 0 {
		return ""
	}
	return d.beats[len(d.beats)-1].GetState().GetUnhealthy()
}

// requireGivenBack requires that all tasks of a job were given back, and none has failed.
func requireGivenBack(t *testing.T, d *double, job uint64, count uint32) {
	t.Helper()
	for i := range count {
		require.Equal(t, rotav1.Outcome_OUTCOME_RETURNED, d.await(t, job, i).outcome, "%+v", d.await(t, job, i))
	}
}

func TestTheFolderForWorkingDirectoriesIsMadeAgain(t *testing.T) {
	t.Parallel()
	for _, dataDir := range []string{"", t.TempDir() + "/data"} {
		d := newDouble(t)
		startAgent(t, d, dataDir)
		for round := range uint64(3) {
			d.assign(t, shell(10*round+1, `rm -rf "${PWD%/*}"`))
			require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, d.await(t, 10*round+1, 0).outcome)
			work := shell(10*round+2, "pwd; ls -A; stat -c %a .")
			work.Range.Count = 20
			d.assign(t, work)
			for i := range work.GetRange().GetCount() {
				got := d.await(t, 10*round+2, i)
				require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, got.outcome, "%+v", got)
				lines := strings.Fields(got.output)
				require.Len(t, lines, 2)
				require.Equal(t, "700", lines[1])
			}
		}
		require.Empty(t, d.trouble())
	}
}

func TestAnAgentWithoutAPlaceForWorkingDirectoriesGivesTasksBack(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	place := filepath.Join(t.TempDir(), "place")
	require.NoError(t, os.Mkdir(place, 0o700))
	startAgent(t, d, "", func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "TMPDIR="+place) })
	d.assign(t, shell(1, "true"))
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, d.await(t, 1, 0).outcome)
	require.NoError(t, os.Rename(place, place+"s"))
	work := shell(2, "true")
	work.Range.Count = 50
	d.assign(t, work)
	requireGivenBack(t, d, 2, 50)
	eventually(t, "it says what is wrong", func() bool { return strings.Contains(d.trouble(), "no such file or directory") })
	elsewhere := shell(3, "true")
	elsewhere.Work.GetCommand().Cwd = "/"
	d.assign(t, elsewhere)
	requireGivenBack(t, d, 3, 1)
	require.NoError(t, os.Rename(place+"s", place))
	eventually(t, "it is healthy by itself", func() bool { return d.trouble() == "" })
	d.assign(t, shell(4, "echo again"))
	require.Equal(t, "again\n", d.await(t, 4, 0).output)
}

func TestAnAgentWithoutFilesGivesTasksBack(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	a := startAgent(t, d, "")
	limit := unix.Rlimit{Cur: 64, Max: 64}
	require.NoError(t, unix.Prlimit(a.cmd.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil))
	dir := t.TempDir()
	hoard := handlerWork(1, 0, 1, "hoards")
	hoard.Work.SharedPayload = []byte(dir)
	d.assign(t, hoard)
	eventually(t, "all files are taken", func() bool {
		work := shell(2, "true")
		d.assign(t, work)
		return d.trouble() != ""
	})
	require.Contains(t, d.trouble(), "too many open files")
	work := shell(3, "true")
	work.Range.Count = 20
	d.assign(t, work)
	requireGivenBack(t, d, 3, 20)
	require.NoError(t, os.WriteFile(dir+"/enough", nil, 0o600))
	d.await(t, 1, 0)
	eventually(t, "it is healthy by itself", func() bool { return d.trouble() == "" })
	d.assign(t, shell(4, "echo again"))
	require.Equal(t, "again\n", d.await(t, 4, 0).output)
	d.set(func() {
		for at, all := range d.reports {
			for _, r := range all {
				require.NotEqual(t, rotav1.Outcome_OUTCOME_FAILED, r.outcome, "%v: %+v", at, r)
			}
		}
	})
}

func TestAnAgentThatMayNotForkGivesTasksBack(t *testing.T) {
	t.Parallel()
	const user = 65533 // nobody else's processes count against its limit
	d := newDouble(t)
	a := startAgent(t, d, "", func(cmd *exec.Cmd) {
		if os.Geteuid() == 0 { // for whom there is no such limit
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		}
		cmd.Env = append(cmd.Env, "TMPDIR=/tmp")
	})
	// Some keepers are idle, and one is not there yet.
	work := shell(1, "true")
	work.Range.Count = 10
	d.assign(t, work)
	eventually(t, "they have run", func() bool { return d.count() == 10 })
	// Folders of tests are closed to other users.
	dir, err := os.MkdirTemp("", "rota-test-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o777))
	saboteur := sabotage(2, a.cmd.Process.Pid, `
all="${UP##* } $(pgrep -P ${UP##* })"
old=$(prlimit --nproc --noheadings --output SOFT --pid $PPID)
for p in $all; do prlimit --pid $p --nproc=1: || exit 1; done
echo $$ > "$DIR/pid"
while [ ! -e "$DIR/enough" ]; do sleep 0.02; done
for p in $all; do prlimit --pid $p --nproc=$old: || exit 1; done`)
	saboteur.Work.GetCommand().Env["DIR"] = dir
	d.assign(t, saboteur)
	pidIn(t, dir+"/pid")
	work = shell(3, "true")
	work.Range.Count = 50
	d.assign(t, work)
	requireGivenBack(t, d, 3, 50)
	eventually(t, "it says what is wrong", func() bool { return strings.Contains(d.trouble(), "resource temporarily unavailable") })
	require.NoError(t, os.WriteFile(dir+"/enough", nil, 0o600))
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, d.await(t, 2, 0).outcome)
	eventually(t, "it is healthy by itself", func() bool { return d.trouble() == "" })
	d.assign(t, shell(4, "echo again"))
	require.Equal(t, "again\n", d.await(t, 4, 0).output)
}

func TestAFullDiskFailsNoTask(t *testing.T) {
	t.Parallel()
	if smalldisk.Elsewhere(t) {
		return
	}
	place := t.TempDir()
	smalldisk.Mount(t, place, "size=64k,nr_inodes=12")
	d := newDouble(t)
	startAgent(t, d, "", func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "TMPDIR="+place) })
	d.assign(t, shell(1, "true"))
	d.await(t, 1, 0)
	var files []string
	fill := func() {
		for {
			name := fmt.Sprintf("%s/full%d", place, len(files))
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				require.ErrorIs(t, err, syscall.ENOSPC)
				return
			}
			files = append(files, name)
		}
	}
	fill()
	// The slots have their folders, unless a command leaves something there.
	d.assign(t, shell(2, `rm -rf "$PWD"`))
	d.await(t, 2, 0)
	fill()
	work := shell(3, "true")
	work.Range.Count = 20
	d.assign(t, work)
	eventually(t, "it says what is wrong", func() bool { return strings.Contains(d.trouble(), "no space left") })
	for i := range uint32(20) {
		require.NotEqual(t, rotav1.Outcome_OUTCOME_FAILED, d.await(t, 3, i).outcome)
	}
	for _, f := range files {
		require.NoError(t, os.Remove(f))
	}
	eventually(t, "it is healthy by itself", func() bool { return d.trouble() == "" })
	d.assign(t, shell(4, "echo again"))
	require.Equal(t, "again\n", d.await(t, 4, 0).output)
}

func TestWhatIsTheUsersFaultFailsTheTask(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	b.assign(t, commandWork(1, "/no/such/program"), commandWork(2, "/etc/passwd"), commandWork(3, "no-such-program"))
	for job := uint64(1); job < 4; job++ {
		got := b.await(t, job, 0)
		require.Equal(t, rotav1.Outcome_OUTCOME_FAILED, got.outcome)
		require.True(t, got.permanent)
	}
	require.Empty(t, b.trouble())
}

func TestWhatAnAgentSaysOfItsHealthIsBoundedAndPrintable(t *testing.T) {
	t.Parallel()
	w, err := New(Config{Addrs: []string{"127.0.0.1:1"}, Slots: 1, Commands: true})
	require.NoError(t, err)
	w.unhealthy(errors.New("bad \x1b[31m\n\u202e" + strings.Repeat("é", 1000)))
	text := w.state().GetUnhealthy()
	require.LessOrEqual(t, len(text), task.MaxHealth)
	require.True(t, strings.HasPrefix(text, "bad ?[31m??é"), text)
	require.True(t, w.held.paused)
}
