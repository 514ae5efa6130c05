package systems

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
	"golang.org/x/sync/errgroup"

	"github.com/rota-scheduler/rota/bench/child"
	"github.com/rota-scheduler/rota/bench/harness"
	"github.com/rota-scheduler/rota/internal/ticks"
)

// Asynq is asynq on a Redis that syncs each write.
type Asynq struct {
	ports     child.Ports
	redis     *child.Process
	workers   []*child.Process
	addr      string
	client    *asynq.Client
	inspector *asynq.Inspector
}

const (
	asynqQueue = "default"
	asynqKind  = "bench"
	// asynqAtOnce is how many tasks are enqueued at once, and how many the workers
	// together run at once.
	asynqAtOnce = 64
	// asynqPoll is how often the client looks for a result of one task.
	asynqPoll = 2 * time.Millisecond
	// asynqKeep is how long a result is kept.
	asynqKeep = time.Hour
)

// Name implements harness.System.
func (*Asynq) Name() string { return "asynq" }

// Check implements harness.System.
func (*Asynq) Check() error {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return errors.New("Redis is not installed: run bench deps, or apt-get install redis-server")
	}
	return nil
}

// Counterpart implements harness.System.
func (*Asynq) Counterpart(w harness.Workload) (string, bool) {
	const common = "one Redis, appendfsync always: "
	switch w {
	case harness.Array:
		return common + "there is no array, so each task is enqueued by itself, 64 at once", true
	case harness.Distinct, harness.Large:
		return common + "enqueued one by one, 64 at once; results polled for", true
	case harness.Single, harness.Clients:
		return common + "enqueued one by one, result polled for each 2 ms", true
	case harness.Commands:
		return "it runs no commands", false
	case harness.Failover:
	}
	return "it has one Redis, and no leader to lose", false
}

// Start implements harness.System.
func (a *Asynq) Start(ctx context.Context, dir string, load harness.Load) (err error) {
	if a.ports, err = child.TakePorts(1); err != nil {
		return err
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return err
	}
	a.addr = child.Loopback(a.ports[0])
	a.redis, err = child.Start(ctx, child.Config{
		Role: "redis", Dir: dir, Path: path,
		Args: []string{
			"--port", strconv.Itoa(a.ports[0]), "--bind", "127.0.0.1", "--dir", dir, "--save", "",
			"--appendonly", "yes", "--appendfsync", "always", "--maxclients", "2000",
		},
		Ready: func(context.Context) error {
			conn, err := net.DialTimeout("tcp", a.addr, time.Second)
			if err != nil {
				return err
			}
			return conn.Close()
		},
	})
	if err != nil {
		return err
	}
	redis := asynq.RedisClientOpt{Addr: a.addr, PoolSize: 2 * asynqAtOnce}
	a.client, a.inspector = asynq.NewClient(redis), asynq.NewInspector(redis)
	for i := range harness.Workers {
		p, err := child.StartSelf(ctx, dir, roleAsynqWorker, fmt.Sprintf("w%d", i+1), asynqWorkerConfig{Addr: a.addr, Workload: load.Workload})
		if err != nil {
			return err
		}
		a.workers = append(a.workers, p)
	}
	return nil
}

// Stop implements harness.System.
func (a *Asynq) Stop(ctx context.Context) error {
	child.StopAll(ctx, a.workers...)
	var errs []error
	if a.client != nil {
		errs = append(errs, a.client.Close(), a.inspector.Close())
	}
	child.StopAll(ctx, a.redis)
	a.ports.Release()
	*a = Asynq{}
	return errors.Join(errs...)
}

// Processes implements harness.System.
func (a *Asynq) Processes() []harness.Process {
	return append(processes("worker", a.workers), harness.Process{Role: "redis", Pid: a.redis.Pid()})
}

// Run implements harness.System.
func (a *Asynq) Run(ctx context.Context, load harness.Load) (harness.Measure, error) {
	switch load.Workload {
	case harness.Array:
		return a.array(ctx, &load)
	case harness.Distinct, harness.Large:
		return a.batch(ctx, &load)
	case harness.Single:
		return singly(&load, 1, func(i int) error { return a.single(ctx, &load, i) })
	case harness.Clients:
		return singly(&load, load.Clients, func(i int) error { return a.single(ctx, &load, i) })
	case harness.Commands, harness.Failover:
	}
	return harness.Measure{}, errUnknown(load.Workload)
}

func taskID(load *harness.Load, i int) string { return strconv.FormatUint(load.ID(i), 10) }

func (a *Asynq) enqueue(ctx context.Context, load *harness.Load, i int) error {
	options := []asynq.Option{asynq.TaskID(taskID(load, i))}
	if load.Workload != harness.Array {
		options = append(options, asynq.Retention(asynqKeep))
	}
	_, err := a.client.EnqueueContext(ctx, asynq.NewTask(asynqKind, load.Payload(i)), options...)
	return err
}

func (a *Asynq) enqueueAll(ctx context.Context, load *harness.Load) error {
	parts, ctx := errgroup.WithContext(ctx)
	for n := range asynqAtOnce {
		parts.Go(func() error {
			for i := n; i < load.Tasks; i += asynqAtOnce {
				if err := a.enqueue(ctx, load, i); err != nil {
					return fmt.Errorf("enqueue task %d: %w", i, err)
				}
			}
			return nil
		})
	}
	return parts.Wait()
}

// array enqueues all tasks and waits until Redis counts as many more as processed.
func (a *Asynq) array(ctx context.Context, load *harness.Load) (harness.Measure, error) {
	before, failed, err := a.processed()
	if err != nil {
		return harness.Measure{}, err
	}
	start := time.Now()
	if err := a.enqueueAll(ctx, load); err != nil {
		return harness.Measure{}, err
	}
	err = child.Poll(ctx, func() error {
		now, nowFailed, err := a.processed()
		if err == nil && nowFailed > failed {
			return nil // This is found out below.
		}
		if err == nil && now-before < load.Tasks {
			err = fmt.Errorf("%d of %d tasks are processed", now-before, load.Tasks)
		}
		return err
	})
	m := harness.Measure{Tasks: load.Tasks, Elapsed: time.Since(start)}
	if err != nil {
		return m, err
	}
	now, nowFailed, err := a.processed()
	if err == nil && (now-before != load.Tasks || nowFailed != failed) {
		err = fmt.Errorf("%d of %d tasks were processed, %d failed", now-before, load.Tasks, nowFailed-failed)
	}
	return m, err
}

func (a *Asynq) processed() (processed, failed int, err error) {
	queues, err := a.inspector.Queues()
	if err != nil || len(queues) == 0 {
		return 0, 0, err // A queue comes with its first task.
	}
	info, err := a.inspector.GetQueueInfo(asynqQueue)
	if err != nil {
		return 0, 0, err
	}
	return info.ProcessedTotal, info.FailedTotal, nil
}

// batch enqueues all tasks while their results are polled for, in the same order.
func (a *Asynq) batch(ctx context.Context, load *harness.Load) (harness.Measure, error) {
	tally := harness.NewTally(load, false)
	start := time.Now()
	parts, partsCtx := errgroup.WithContext(ctx)
	parts.Go(func() error { return a.enqueueAll(partsCtx, load) })
	// A few readers keep up with the workers, which take a sync for each task.
	const readers = 8
	for n := range readers {
		parts.Go(func() error {
			for i := n; i < load.Tasks; i += readers {
				result, err := a.result(partsCtx, load, i)
				if err == nil {
					err = tally.Add(i, result)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := parts.Wait(); err != nil {
		return harness.Measure{}, err
	}
	return harness.Measure{Tasks: load.Tasks, Elapsed: time.Since(start)}, tally.Complete()
}

// result polls until task i has ended, and returns its result.
func (a *Asynq) result(ctx context.Context, load *harness.Load, i int) ([]byte, error) {
	for {
		info, err := a.inspector.GetTaskInfo(asynqQueue, taskID(load, i))
		switch {
		case errors.Is(err, asynq.ErrTaskNotFound), errors.Is(err, asynq.ErrQueueNotFound):
			// It is not enqueued yet.
		case err != nil:
			return nil, err
		case info.State == asynq.TaskStateCompleted:
			return info.Result, nil
		case info.LastErr != "":
			return nil, fmt.Errorf("task %d failed: %s", i, info.LastErr)
		}
		if !ticks.Sleep(ctx, asynqPoll) {
			return nil, ctx.Err()
		}
	}
}

func (a *Asynq) single(ctx context.Context, load *harness.Load, i int) error {
	if err := a.enqueue(ctx, load, i); err != nil {
		return err
	}
	result, err := a.result(ctx, load, i)
	if err != nil {
		return err
	}
	return harness.NewTally(load, false).Add(i, result)
}
