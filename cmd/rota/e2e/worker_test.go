package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
)

const (
	// shortLease is the lease of workers in tests that let one run out.
	shortLease = 2 * time.Second
	// family is the script of a task with children and grandchildren, all in its
	// process group. The first attempt waits for the file that the first argument names;
	// later ones end at once. Processes that it leaves must not keep its output open.
	family = `
if [ "$ROTA_ATTEMPT" = 1 ]; then
	(sleep 300 & sleep 300) >/dev/null 2>&1 &
	sh -c 'trap "" TERM; sleep 300' >/dev/null 2>&1 &
	while [ ! -e "$1" ]; do sleep 0.05; done
fi
echo "$ROTA_FENCE"`
	// familySize is how many processes the first attempt has while it waits, in a shell
	// that runs its last command in its own process. It does not count the sleeps between
	// two checks of the file.
	familySize = 5
)

// workerNamed returns the worker with a name as the servers know it.
func workerNamed(t *testing.T, cl *client.Client, name string) client.WorkerInfo {
	t.Helper()
	var found client.WorkerInfo
	await(t, "worker "+name, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		workers, err := cl.Workers(ctx, client.WorkersOptions{})
		require.NoError(t, err)
		for _, w := range workers {
			if w.Name == name && w.Connected {
				found = w
				return true
			}
		}
		return false
	})
	return found
}

// tokensBy waits until all tasks of a job run, and returns their tokens by the name of the
// worker that holds them.
func (c *cluster) tokensBy(cl *client.Client, job *client.Job, count, perTask int) map[string][]uint64 {
	c.t.Helper()
	id := "ROTA_JOB_ID=" + number(job.ID())
	await(c.t, "running tasks", func() bool { return len(processes(c.mark(), id)) >= count*perTask })
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	tokens := map[string][]uint64{}
	for i := range count {
		info, err := job.Task(ctx, uint32(i))
		require.NoError(c.t, err)
		require.Equal(c.t, task.Assigned, info.State)
		require.EqualValues(c.t, 1, info.Attempt)
		tokens[info.Worker] = append(tokens[info.Worker], info.Token)
	}
	return tokens
}

func fence(token uint64) string { return "ROTA_FENCE=" + number(token) }

// When a worker is killed, all processes of its tasks end with it, also grandchildren that
// ignore signals. Its tasks run elsewhere, and each has one recorded outcome.
func TestKilledWorkerLeavesNoProcessAndItsTasksRunElsewhere(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{
		Servers: 3, Workers: 2, Slots: 8, ServerFlags: []string{"--lease-timeout", shortLease.String()},
	})
	cl := c.client()
	ctx, cancel := context.WithTimeout(context.Background(), 2*within)
	defer cancel()
	gate, open := c.gate()
	const count = 8
	job, err := cl.Submit(ctx, client.Request{
		Spec: task.Spec{Name: "families", Command: []string{"sh", "-c", family, "sh", gate}}, Count: count,
	})
	require.NoError(t, err)
	tokens := c.tokensBy(cl, job, count, familySize)
	require.NotEmpty(t, tokens["w1"])
	require.NotEmpty(t, tokens["w2"])

	killed := time.Now()
	c.Workers[0].Kill()
	for _, token := range tokens["w1"] {
		var left []string
		gone := poll(5*time.Second, func() bool { left = processes(c.mark(), fence(token)); return len(left) == 0 })
		require.True(t, gone, "processes outlive their worker: %q", left)
	}
	t.Logf("all processes of the killed worker had ended after %v", time.Since(killed))
	for _, token := range tokens["w2"] {
		require.NotEmpty(t, processes(c.mark(), fence(token)), "a task of the other worker was stopped")
	}
	await(t, "the tasks of the killed worker, elsewhere", func() bool {
		info, err := job.Info(ctx)
		require.NoError(t, err)
		return int(info.Counts[task.Succeeded]) == len(tokens["w1"])
	})
	t.Logf("its tasks had run elsewhere after %v", time.Since(killed))
	open()
	attempts := map[uint32]int{}
	next := uint32(0)
	for r, err := range job.Results(ctx) {
		require.NoError(t, err)
		require.Equal(t, next, r.Index)
		require.Equal(t, task.Succeeded, r.State, r.Error)
		require.Equal(t, "w2", r.Worker)
		require.Equal(t, number(r.Token)+"\n", string(r.Output))
		attempts[r.Attempt]++
		next++
	}
	require.EqualValues(t, count, next)
	require.Equal(t, map[uint32]int{1: len(tokens["w2"]), 2: len(tokens["w1"])}, attempts)
	// Processes that a task has left in the background end with it.
	await(t, "the end of all processes of the job", func() bool {
		return len(processes(c.mark(), "ROTA_JOB_ID="+number(job.ID()))) == 0
	})
	c.verify()
}

// A worker is paused for longer than its lease and goes on. The servers refuse its reports, and
// the results are those of the worker that got the tasks next.
func TestPausedWorkerReportsTooLate(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{
		Servers: 1, Workers: 2, Slots: 4, ServerFlags: []string{"--lease-timeout", shortLease.String()},
	})
	cl := c.client()
	ctx, cancel := context.WithTimeout(context.Background(), 2*within)
	defer cancel()
	gate, open := c.gate()
	const count = 4
	job, err := cl.Submit(ctx, client.Request{
		Spec: task.Spec{Name: "late", Command: []string{"sh", "-c", waitForFile, "sh", gate}}, Count: count,
	})
	require.NoError(t, err)
	tokens := c.tokensBy(cl, job, count, 1)
	w1 := workerNamed(t, cl, "w1")
	require.NotEmpty(t, tokens["w1"])

	require.NoError(t, c.Workers[0].Signal(syscall.SIGSTOP))
	// Ordinary tasks go on while their agent is paused: they end when the others do.
	await(t, "the tasks of the paused worker, elsewhere", func() bool {
		for i := range uint32(count) {
			info, err := job.Task(ctx, i)
			require.NoError(t, err)
			if info.Worker != "w2" || info.State != task.Assigned {
				return false
			}
		}
		return true
	})
	for _, token := range tokens["w1"] {
		require.NotEmpty(t, processes(c.mark(), fence(token)), "an ordinary task was stopped for the pause of its agent")
	}
	open()
	for _, token := range tokens["w1"] {
		await(t, "the end of the old attempts", func() bool { return len(processes(c.mark(), fence(token))) == 0 })
	}
	_, err = job.Wait(ctx)
	require.NoError(t, err)
	require.NoError(t, c.Workers[0].Signal(syscall.SIGCONT))
	again := workerNamed(t, cl, "w1")
	require.Equal(t, w1.ID, again.ID)
	require.NotEqual(t, w1.SessionID, again.SessionID, "the session outlived its lease")

	await(t, "the late reports, refused", func() bool {
		return c.metrics(c.Servers[0])["rota_reports_refused_total"] >= float64(len(tokens["w1"]))
	})
	old := map[uint64]bool{}
	for _, token := range tokens["w1"] {
		old[token] = true
	}
	for r, err := range job.Results(ctx) {
		require.NoError(t, err)
		require.Equal(t, task.Succeeded, r.State, r.Error)
		require.Equal(t, "w2", r.Worker)
		require.False(t, old[r.Token], "a result has a token that was given away")
		require.Equal(t, number(r.Token)+"\n", string(r.Output))
	}
	c.verify()
}

// diary is the script of a task that writes its token and the time into a file, again and
// again for a moment and while the file HOLD exists. It also writes when it begins and ends.
const diary = `
note() { read -r up _ </proc/uptime; echo "$1 $ROTA_FENCE $ROTA_TASK_INDEX $up" >>"$DIARY"; }
note start
i=0
while [ $i -lt 4 ] || [ -e "$HOLD" ]; do sleep 0.05; note on; i=$((i+1)); done
note end`

// The test pauses the worker of a serial job again and again, for longer than its lease. The
// guard stops the task before the lease ends, so no two tasks, and no two attempts of one
// task, ever overlap.
func TestSerialTasksNeverOverlapThoughWorkersPause(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{
		Servers: 1, Workers: 2, Slots: 2, ServerFlags: []string{"--lease-timeout", shortLease.String()},
	})
	cl := c.client()
	ctx, cancel := context.WithTimeout(context.Background(), 2*within)
	defer cancel()
	path, hold := filepath.Join(c.dir, "diary"), filepath.Join(c.dir, "hold")
	const count = 8
	job, err := cl.Submit(ctx, client.Request{
		Spec: task.Spec{
			Name: "serial", Command: []string{"sh", "-c", diary}, Serial: true,
			Env: []task.Pair{{Key: "DIARY", Value: path}, {Key: "HOLD", Value: hold}},
		},
		Count: count,
	})
	require.NoError(t, err)
	const pauses = 2
	for range pauses {
		require.NoError(t, os.WriteFile(hold, nil, 0o600))
		w, token := c.heldSerial(path)
		require.NoError(t, w.Signal(syscall.SIGSTOP))
		stopped := time.Now()
		await(t, "the end of the task of the paused worker", func() bool { return len(processes(c.mark(), fence(token))) == 0 })
		took := time.Since(stopped)
		await(t, "the next attempt", func() bool { return highest(readDiary(t, path)) > token })
		require.NoError(t, os.Remove(hold))
		t.Logf("%s is paused: its task had ended after %v, the next one began after %v", w.Name, took, time.Since(stopped))
		require.Less(t, took, shortLease)
		require.NoError(t, w.Signal(syscall.SIGCONT))
		workerNamed(t, cl, w.Name)
	}
	next := uint32(0)
	again := 0
	for r, err := range job.Results(ctx) {
		require.NoError(t, err)
		require.Equal(t, next, r.Index)
		require.Equal(t, task.Succeeded, r.State, r.Error)
		again += int(r.Attempt) - 1
		next++
	}
	require.EqualValues(t, count, next)
	require.Positive(t, again, "no task was interrupted")
	requireNoOverlap(t, readDiary(t, path), count)
	c.verify()
}

// heldSerial waits until a task of the serial job runs that has seen the file HOLD,
// and returns its worker and its token.
func (c *cluster) heldSerial(path string) (*localcluster.Process, uint64) {
	c.t.Helper()
	before := len(readDiary(c.t, path))
	var token uint64
	await(c.t, "a task that is held", func() bool {
		entries := readDiary(c.t, path)
		token = highest(entries)
		lines := 0
		for _, e := range entries[before:] {
			if e.token == token && e.what == "on" {
				lines++
			}
		}
		// Between these two lines it has checked for the file.
		return lines >= 2
	})
	for _, w := range c.Workers {
		// The guard is a child of the agent, and the command is a child of the guard.
		for _, p := range processes(c.mark(), fence(token)) {
			if ancestor(p, w.Pid()) {
				return w, token
			}
		}
	}
	require.Fail(c.t, "no worker runs the task", "token %d", token)
	return nil, 0
}

// ancestor reports whether one process is an ancestor of another.
func ancestor(of string, pid int) bool {
	number, _, _ := strings.Cut(of, " ")
	for {
		stat, err := os.ReadFile(filepath.Join("/proc", number, "stat"))
		if err != nil {
			return false
		}
		// After the name, which is in brackets and may contain any character.
		rest := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		number = rest[1]
		if number == strconv.Itoa(pid) {
			return true
		}
		if number == "0" || number == "1" {
			return false
		}
	}
}

// entry is a line of the diary.
type entry struct {
	what  string
	token uint64
	index int
	up    float64
}

func readDiary(t *testing.T, path string) []entry {
	t.Helper()
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	// The last line may be incomplete.
	data = data[:strings.LastIndexByte(string(data), '\n')+1]
	var out []entry
	for line := range strings.Lines(string(data)) {
		var e entry
		_, err := fmt.Sscan(line, &e.what, &e.token, &e.index, &e.up)
		require.NoError(t, err, "line %q", line)
		out = append(out, e)
	}
	return out
}

func highest(entries []entry) uint64 {
	top := uint64(0)
	for _, e := range entries {
		top = max(top, e.token)
	}
	return top
}

// requireNoOverlap requires that no line of a token comes after a line of a higher token, that
// indexes never fall, and that each task ended.
func requireNoOverlap(t *testing.T, entries []entry, count int) {
	t.Helper()
	ended := map[int]int{}
	last := entry{}
	for _, e := range entries {
		require.GreaterOrEqual(t, e.token, last.token, "%+v comes after %+v", e, last)
		require.GreaterOrEqual(t, e.index, last.index, "%+v comes after %+v", e, last)
		require.GreaterOrEqual(t, e.up, last.up, "%+v comes after %+v", e, last)
		require.Equal(t, e.token != last.token, e.what == "start", "%+v comes after %+v", e, last)
		if e.what == "end" {
			ended[e.index]++
		}
		last = e
	}
	for i := range count {
		// More than once if the worker was lost before it could report.
		require.Positive(t, ended[i], "ends of task %d", i)
	}
}

// A task that its worker has started is shown as running; a task that waits there is not.
func TestRunningTasksAreShown(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3, Workers: 1, Slots: 1})
	gate, open := c.gate()
	id := c.submit("--array", "0-3", "--", "sh", "-c", waitForFile, "sh", gate)
	state := func(index string) string { return c.ok("job", "get", number(id)+"."+index, "-o", "json") }
	await(t, "the first task", func() bool { return strings.Contains(state("0"), `"state": "running"`) })
	require.NotContains(t, state("1"), "running")
	require.Contains(t, c.ok("job", "get", number(id)), "(1 running)")
	open()
	c.ok("job", "wait", number(id))
	require.Contains(t, state("0"), `"state": "succeeded"`)
}
