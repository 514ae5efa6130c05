package growth

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rota-scheduler/rota/bench/child"
	"github.com/rota-scheduler/rota/bench/rotacluster"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

const (
	labServers, labWorkers, labSlots = 3, 2, 16
	noop                             = "rota.noop"
	payloadBytes                     = 64
	// warmShare is the part of a measurement that runs before it, to warm up.
	warmShare = 5
	// jobTasks is the most tasks of a job, except in the study of large jobs: the results of a few jobs come side by
	// side.
	jobTasks = 1_000_000
)

// lab is a cluster that is filled and measured.
type lab struct {
	options Options
	dir     string
	cluster *rotacluster.Cluster
	client  *client.Client
	// simulated are workers that are not processes of their own.
	simulated *child.Process
}

// setup is how a cluster of a lab differs from the usual one.
type setup struct {
	servers int
	// idle: the workers are not started yet.
	idle bool
	// workers is how many there are; negative: none.
	workers int
	flags   []string
	env     []string
}

func (l *lab) start(ctx context.Context, s setup) (err error) {
	if s.servers == 0 {
		s.servers = labServers
	}
	if s.workers == 0 {
		s.workers = labWorkers
	}
	l.cluster, err = rotacluster.New(rotacluster.Config{
		Binary: l.options.Binary, Dir: filepath.Join(l.dir, "cluster"), Servers: s.servers, Workers: max(0, s.workers), Slots: labSlots,
		ServerFlags: append(append([]string{}, l.options.ServerFlags...), s.flags...), Env: s.env,
	})
	if err != nil {
		return err
	}
	if !s.idle {
		err = l.cluster.Start(ctx)
	} else {
		for _, p := range l.cluster.Servers {
			err = errors.Join(err, p.Start())
		}
		for _, p := range l.cluster.Servers {
			if err == nil {
				err = p.WaitReady(ctx)
			}
		}
	}
	if err != nil {
		return err
	}
	l.client, err = l.cluster.Client()
	return err
}

// close ends everything at once: the data is thrown away.
func (l *lab) close() {
	if l.client != nil {
		l.client.Close()
	}
	if l.simulated != nil {
		l.simulated.Kill()
	}
	l.client, l.simulated = nil, nil
	if l.cluster != nil {
		for _, p := range l.cluster.Processes() {
			if p.Running() {
				p.Kill()
			}
		}
	}
}

// fill submits tasks in large jobs, and returns the jobs.
func (l *lab) fill(ctx context.Context, tasks int, distinct bool) ([]*client.Job, error) {
	var jobs []*client.Job
	for tasks > 0 {
		n := min(tasks, jobTasks)
		tasks -= n
		req := client.Request{Spec: task.Spec{Name: "fill", Handler: noop}, Count: n}
		if distinct {
			first := len(jobs) * jobTasks
			req.Count = 0
			req.Payloads = func(yield func([]byte) bool) {
				for i := range n {
					if !yield(fmt.Appendf(nil, "%0*d", payloadBytes, first+i)) {
						return
					}
				}
			}
		}
		job, err := l.client.Submit(ctx, req)
		if err != nil {
			return jobs, fmt.Errorf("fill: %w", err)
		}
		jobs = append(jobs, job)
	}
	return jobs, nil
}

// finish runs so many tasks to their end; distinct: with payloads of their own.
func (l *lab) finish(ctx context.Context, tasks int, distinct bool) error {
	jobs, err := l.fill(ctx, tasks, distinct)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		info, err := j.Wait(ctx)
		if err != nil {
			return err
		}
		if info.State != task.JobSucceeded {
			return fmt.Errorf("job %d %s", j.ID(), info.State)
		}
	}
	return nil
}

// submitUrgent submits a job that goes before everything else that waits.
func (l *lab) submitUrgent(ctx context.Context, tasks int) (*client.Job, error) {
	return l.client.Submit(ctx, client.Request{Spec: task.Spec{Name: "measured", Handler: noop, Priority: task.MaxPriority}, Count: tasks})
}

// submitWarm submits the job that warms everything up.
func (l *lab) submitWarm(ctx context.Context) (*client.Job, error) {
	return l.submitUrgent(ctx, min(max(1, l.options.Tasks/warmShare), jobTasks))
}

// throughput waits for the job that warms up, then submits the one that is measured, and
// returns its tasks a second from the submit to the last result.
func (l *lab) throughput(ctx context.Context, warm *client.Job) (float64, error) {
	if _, err := receive(ctx, warm); err != nil {
		return 0, err
	}
	start := time.Now()
	count, err := l.receiveUrgent(ctx, l.options.Tasks)
	took := time.Since(start)
	if err == nil && count != l.options.Tasks {
		err = fmt.Errorf("%d of %d results came", count, l.options.Tasks)
	}
	return float64(count) / took.Seconds(), err
}

// receiveUrgent submits so many tasks that go before everything else, in large jobs,
// all at once, and returns how many results came.
func (l *lab) receiveUrgent(ctx context.Context, tasks int) (int, error) {
	var count atomic.Int64
	jobs, ctx := errgroup.WithContext(ctx)
	for tasks > 0 {
		n := min(tasks, jobTasks)
		tasks -= n
		jobs.Go(func() error {
			job, err := l.submitUrgent(ctx, n)
			if err != nil {
				return err
			}
			got, err := receive(ctx, job)
			count.Add(int64(got))
			return err
		})
	}
	err := jobs.Wait()
	return int(count.Load()), err
}

// receive receives all results of a job and returns how many there were.
func receive(ctx context.Context, job *client.Job) (count int, err error) {
	for r, err := range job.AsCompleted(ctx) {
		if err == nil && r.State != task.Succeeded {
			err = fmt.Errorf("task %d.%d %s in attempt %d: %s %s", job.ID(), r.Index, r.State, r.Attempt, r.Reason, r.Error)
		}
		if err != nil {
			return count, err
		}
		count++
	}
	return count, nil
}

// measured is submitWarm and throughput.
func (l *lab) measured(ctx context.Context) (float64, error) {
	warm, err := l.submitWarm(ctx)
	if err != nil {
		return 0, err
	}
	return l.throughput(ctx, warm)
}

// restart stops all servers in good order, starts them, and returns how long it took
// until all were ready.
func (l *lab) restart(ctx context.Context) (time.Duration, error) {
	for _, s := range l.cluster.Servers {
		if err := s.Stop(ctx); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	for _, s := range l.cluster.Servers {
		if err := s.Start(); err != nil {
			return 0, err
		}
	}
	for _, s := range l.cluster.Servers {
		if err := s.WaitReady(ctx); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

// leader is the server that leads.
func (l *lab) leader(ctx context.Context) (*rotacluster.Process, error) {
	info, err := l.client.Status(ctx)
	if err != nil {
		return nil, err
	}
	if s := l.cluster.Server(info.Leader); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("there is no leader, but %q", info.Leader)
}
