package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rota-scheduler/rota/api/jsonv1"
	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// saveEvery is the least time between two backups.
	saveEvery = 2 * time.Second
	// keptBackups is how many backups are restored in the end: the newest ones.
	keptBackups = 3
	// restoreTimeout bounds how long one of them may take until it has done all of its work.
	restoreTimeout = time.Minute
	// cursorTasks is how many tasks the jobs have whose cursors are kept: one message of results.
	cursorTasks = 3
)

// backups submits jobs, and takes backups while the cluster is harmed. In the end the newest ones are restored, one after the other,
// beside the cluster, which still runs: so what both give out can be compared.
type backups struct {
	numbers
	// next is when the next backup may be taken, Unix ns.
	next atomic.Int64

	mu    sync.Mutex
	saved []savedBackup
}

// savedBackup is a backup, and a cursor that the cluster gave out before; its job is 0 where there is none.
type savedBackup struct {
	file   string
	job    uint64
	cursor []byte
}

func (b *backups) step(ctx context.Context, c *Client) {
	now, next := time.Now().UnixNano(), b.next.Load()
	if now < next || !b.next.CompareAndSwap(next, now+int64(saveEvery)) {
		s := history.Submit{Key: b.key("backup"), Tasks: 1 + c.Random.IntN(5)}
		c.submit(ctx, s, task.Spec{Handler: "rota.noop", SharedPayload: []byte(s.Key)})
		return
	}
	job, cursor := b.cursor(ctx, c)
	dir := filepath.Join(c.env.Dir, "backups")
	file := filepath.Join(dir, b.key("saved")+".backup")
	_, ok := call(ctx, c, history.FSave, history.Save{File: file}, func(ctx context.Context) (history.Saved, error) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return history.Saved{}, err
		}
		if err := c.save(ctx, file); err != nil {
			return history.Saved{}, errors.Join(err, os.Remove(file))
		}
		return c.inspect(ctx, file)
	})
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.saved = append(b.saved, savedBackup{file, job, cursor})
	if old := len(b.saved) - keptBackups; old > 0 {
		_ = os.Remove(b.saved[0].file)
		b.saved = b.saved[old:]
	}
}

// cursor submits a job, and returns a cursor within its results, if it ends in time.
func (b *backups) cursor(ctx context.Context, c *Client) (job uint64, cursor []byte) {
	s := history.Submit{Key: b.key("cursor"), Tasks: cursorTasks}
	made, ok := c.submit(ctx, s, task.Spec{Handler: "rota.noop"})
	if !ok {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.env.Timeout)
	defer cancel()
	for r, err := range c.sdk.Job(made.Job).AsCompleted(ctx) {
		if err == nil {
			return made.Job, r.Cursor()
		}
	}
	return 0, nil
}

// save writes a backup to a file, by the SDK or from one server.
func (c *Client) save(ctx context.Context, path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if c.Random.IntN(2) == 0 {
		_, err = c.sdk.SaveSnapshot(ctx, f, client.SaveOptions{})
		return err
	}
	stream, err := c.anyServer().Cluster.SaveSnapshot(ctx, &rotav1.SaveSnapshotRequest{})
	if err != nil {
		return err
	}
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := f.Write(msg.GetData()); err != nil {
			return err
		}
	}
}

// inspect has rota check a backup. One that is damaged is no outcome that a fault excuses: a server said that it is whole.
func (c *Client) inspect(ctx context.Context, path string) (history.Saved, error) {
	var m jsonv1.Snapshot
	out, err := c.rota(ctx, "cluster", "snapshot", "inspect", path, "-o", "json")
	if err == nil {
		err = json.Unmarshal(out, &m)
	}
	return history.Saved{File: path, Index: m.Index, NextJob: m.NextJob, NextToken: m.NextToken}, err
}

// rota runs a verb that works on files, and returns what it prints.
func (c *Client) rota(ctx context.Context, args ...string) ([]byte, error) {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, c.env.Binary, args...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("rota %v: %w: %s", args, err, said.String())
	}
	return out, nil
}

// end restores the newest backups. The end of the load must not wait for the cluster that is harmed, and this one is not.
func (b *backups) end(ctx context.Context, c *Client) error {
	b.mu.Lock()
	saved := b.saved
	b.saved = nil
	b.mu.Unlock()
	for i, s := range saved {
		out := history.Restored{File: s.file}
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTimeout)
		if err := c.restore(one, s, filepath.Join(c.env.Dir, fmt.Sprintf("restored-%d", i+1)), &out); err != nil {
			out.Problem = err.Error()
		}
		cancel()
		c.env.Recorder.Note(history.Observer, history.FRestored, "", out)
	}
	return nil
}

// restore makes a cluster of one server from a backup, lets a worker do what is left to do, and asks for all that there is.
func (c *Client) restore(ctx context.Context, from savedBackup, dir string, out *history.Restored) (err error) {
	l, err := localcluster.New(localcluster.Config{
		Binary: c.env.Binary, Dir: dir, Servers: 1, Workers: 1, ServerFlags: []string{"--lease-timeout", restoredLease},
	})
	if err != nil {
		return err
	}
	first := l.Servers[0]
	_, err = c.rota(ctx, "cluster", "snapshot", "restore", from.file, "--data-dir", filepath.Join(dir, first.Name), "--node-id", first.Name,
		"--peer-addr", first.PeerAddr)
	if err != nil {
		return err
	}
	defer func() {
		l.Kill()
		l.ReleasePorts()
	}()
	if err := l.Start(ctx); err != nil {
		return err
	}
	cl, err := l.Client()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cl.Close()) }()
	job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "rota.noop"}, Count: cursorTasks})
	if err != nil {
		return err
	}
	out.Made = job.ID()
	out.Cursor = cursorAt(ctx, cl, from)
	if err := drained(ctx, cl); err != nil {
		return err
	}
	return everything(ctx, first.Addr, out)
}

// restoredLease is how long the workers of the cluster before are waited for. They never come.
const restoredLease = "1s"

// cursorAt says what becomes of a cursor of the cluster before.
func cursorAt(ctx context.Context, cl *client.Client, from savedBackup) string {
	if from.job == 0 {
		return ""
	}
	for _, err := range cl.Job(from.job).AsCompletedFrom(ctx, from.cursor) {
		if isKind(err, task.KindConflict) {
			return history.CursorRefused
		}
		break
	}
	return history.CursorTaken
}

// everything reads all jobs and results of a server.
func everything(ctx context.Context, addr string, out *history.Restored) (err error) {
	conn, err := wire.Dial(addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	one := &cluster.Conn{Jobs: rotav1.NewJobServiceClient(conn)}
	list, err := listAll(ctx, one, &rotav1.ListJobsRequest{PageSize: pageSize})
	if err != nil {
		return err
	}
	out.Jobs = list.Jobs
	for _, j := range list.Jobs {
		outcomes, err := allResults(ctx, one, j.ID, nil)
		if err != nil {
			return fmt.Errorf("results of job %d: %w", j.ID, err)
		}
		out.Results = append(out.Results, history.JobResults{Job: j.ID, Outcomes: outcomes})
	}
	return nil
}
