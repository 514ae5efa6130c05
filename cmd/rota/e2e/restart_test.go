package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
)

// waitForFile is the script of a task that runs until the file exists that the first argument
// names, and then prints its token.
const waitForFile = `while [ ! -e "$1" ]; do sleep 0.05; done; echo "$ROTA_FENCE"`

// gate is a file that tasks wait for.
func (c *cluster) gate() (path string, open func()) {
	path = filepath.Join(c.dir, "gate")
	return path, func() { require.NoError(c.t, os.WriteFile(path, nil, 0o600)) }
}

// The test kills all servers at once in the middle of submits and starts them again, several
// times. Every acknowledged job is there, and running tasks are not disturbed.
func TestAllServersKilledAtOnceLoseNothing(t *testing.T) { onEachLog(t, killAllAtOnce) }

func killAllAtOnce(t *testing.T, log []string) {
	c := start(t, localcluster.Config{Servers: 3, Workers: 2, Slots: 4, ServerFlags: log})
	cl := c.client()
	ctx, cancel := context.WithTimeout(context.Background(), 3*within)
	defer cancel()
	gate, open := c.gate()
	held, err := cl.Submit(ctx, client.Request{
		Spec:  task.Spec{Name: "held", Command: []string{"sh", "-c", waitForFile, "sh", gate}},
		Count: 4, Key: "held",
	})
	require.NoError(t, err)
	await(t, "running tasks", func() bool { return len(processes(c.mark(), "ROTA_JOB_ID="+number(held.ID()))) >= 4 })

	squares := submitLoops(2, "squares", func(ctx context.Context, key string) (uint64, error) {
		job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Name: key, Handler: "rota.square"}, Count: 3, Key: key})
		if err != nil {
			return 0, err
		}
		return job.ID(), nil
	})
	for range 3 {
		squares.more(t, 30)
		killAtOnce(c.Servers...)
		c.startAll()
	}
	squares.more(t, 30)
	acknowledged := squares.halt(t)
	t.Logf("%d jobs, the longest time without a submit was %v", len(acknowledged), squares.longest())
	for _, id := range acknowledged {
		next := uint32(0)
		for r, err := range cl.Job(id).Results(ctx) {
			require.NoError(t, err)
			require.Equal(t, next, r.Index)
			require.Equal(t, task.Succeeded, r.State, r.Error)
			require.Equal(t, strconv.Itoa(int(next*next)), string(r.Output))
			next++
		}
		require.EqualValues(t, 3, next)
	}
	open()
	for r, err := range held.Results(ctx) {
		require.NoError(t, err)
		require.Equal(t, task.Succeeded, r.State, r.Error)
		require.EqualValues(t, 1, r.Attempt, "a running task was started again")
		require.Equal(t, number(r.Token)+"\n", string(r.Output))
	}
	acknowledged["held"] = held.ID()
	c.requireOnce(acknowledged)
	c.verify()
}

// handOverLimit is how long clients may be without an answer while the leader hands over and
// ends. The test logs the time.
const handOverLimit = 2 * time.Second

// The test asks one leader after the other to end. Each hands leadership over and ends with exit
// code 0. Clients that try again see no error, and streams of results go on.
func TestLeaderAskedToEndHandsOver(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3, Workers: 1, Slots: 2})
	cl := c.client()
	ctx, cancel := context.WithTimeout(context.Background(), 3*within)
	defer cancel()
	const tasks = 100_000
	busy, err := cl.Submit(ctx, client.Request{
		Spec: task.Spec{Name: "busy", Handler: "rota.sleep", SharedPayload: []byte("5ms")}, Count: tasks, Key: "busy",
	})
	require.NoError(t, err)
	stream, end := context.WithCancel(ctx)
	defer end()
	streamed := make(chan error, 1)
	go func() {
		for r, err := range busy.AsCompleted(stream) {
			if err != nil {
				streamed <- err
				return
			}
			if r.State == task.Succeeded && r.Attempt != 1 {
				streamed <- task.Errorf(task.KindInternal, "task %d has attempt %d", r.Index, r.Attempt)
				return
			}
		}
		streamed <- nil
	}()
	submits := submitLoops(4, "s", submitWith(cl, task.Spec{Handler: noHandler}))
	for range 3 {
		submits.more(t, 50)
		leader := c.leader()
		submits.longest()
		begin := time.Now()
		require.NoError(t, leader.Signal(syscall.SIGTERM))
		require.Zero(t, c.ended(leader), "exit code of %s, which was asked to end", leader.Name)
		took := time.Since(begin)
		next := c.leader(leader)
		submits.more(t, 50)
		gap := submits.longest()
		t.Logf("%s ended after %v; %s leads; the longest time without a submit was %v", leader.Name, took, next.Name, gap)
		require.Less(t, gap, handOverLimit)
		c.restart(leader)
	}
	_, err = busy.Cancel(ctx)
	require.NoError(t, err)
	require.NoError(t, <-streamed)
	acknowledged := submits.halt(t)
	acknowledged["busy"] = busy.ID()
	c.requireOnce(acknowledged)
	c.verify()
}
