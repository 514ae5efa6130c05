package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
)

// The workloads of bench, and how many tasks a run has by default.
var workloads = []struct {
	name  string
	tasks int
	run   func(b *bench, ctx context.Context, tasks int) (benchRun, error)
}{
	{"array", 100_000, (*bench).array},
	{"distinct", 20_000, (*bench).distinct},
	{"single", 500, (*bench).single},
}

const (
	benchServers, benchWorkers, benchSlots = 3, 2, 16
	defaultRuns, maxRuns                   = 3, 1000
)

func (a *app) benchCmd() *cobra.Command {
	var only string
	var tasks, runs int
	var local bool
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a cluster",
		Long: "Measures a running cluster, or with --local a cluster of 3 servers and 2 workers that it\n" +
			"starts itself. It checks every count and every result.\n\n" +
			"  array     no-op handlers as one array job, results received as they complete\n" +
			"  distinct  tasks with 64-byte payloads of their own and 16-byte results\n" +
			"  single    one task at a time, from the submit to its result",
		Example: "  rota bench --local\n  rota bench --workload single --tasks 100 -o json",
		Args:    wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := &bench{app: a, runs: runs, tasks: tasks}
			if err := b.check(only); err != nil {
				return err
			}
			if local {
				return b.local(cmd.Context(), only)
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return b.measure(ctx, c, only)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&only, "workload", "", "measure only this workload: array, distinct or single; empty: all")
	f.IntVar(&tasks, "tasks", 0, "tasks of a run; 0: 100000, 20000 and 500")
	f.IntVar(&runs, "runs", defaultRuns, "how often to measure each workload")
	f.BoolVar(&local, "local", false, "start a cluster of 3 servers and 2 workers and measure it")
	a.clientFlags(cmd)
	return cmd
}

// bench measures one cluster.
type bench struct {
	*app
	client      *client.Client
	runs, tasks int
}

func (b *bench) check(only string) error {
	known := only == ""
	var names []string
	for _, w := range workloads {
		known = known || w.name == only
		names = append(names, w.name)
	}
	switch {
	case !known:
		return usagef("unknown --workload %q: use %s", only, strings.Join(names, ", "))
	case b.tasks < 0 || b.tasks > task.MaxTasks:
		return usagef("--tasks %d is out of range: use 1 to %d", b.tasks, task.MaxTasks)
	case b.runs < 1 || b.runs > maxRuns:
		return usagef("--runs %d is out of range: use 1 to %d", b.runs, maxRuns)
	case b.format == formatJSONL:
		return usagef("bench prints -o table or json")
	}
	return nil
}

// local starts a cluster, measures it, and removes it.
func (b *bench) local(ctx context.Context, only string) (err error) {
	c, cleanup, err := b.startLocal(ctx, localcluster.Config{Servers: benchServers, Workers: benchWorkers, Slots: benchSlots})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanup()) }()
	cl, err := c.Client()
	if err != nil {
		return err
	}
	defer cl.Close()
	return b.measure(ctx, cl, only)
}

// benchRun is one measurement. Durations are seconds.
type benchRun struct {
	submit, total float64
	// latencies has one for each task. Only the workload single measures them.
	latencies []time.Duration
}

func (b *bench) measure(ctx context.Context, c *client.Client, only string) error {
	b.client = c
	status, err := b.ready(ctx)
	if err != nil {
		return err
	}
	report := jsonv1.Bench{Servers: len(status.Servers), Version: version, Workloads: []jsonv1.BenchWorkload{}}
	for _, w := range workloads {
		if only != "" && w.name != only {
			continue
		}
		tasks := w.tasks
		if b.tasks > 0 {
			tasks = b.tasks
		}
		var runs []benchRun
		for i := range b.runs {
			b.say("rota: %s, run %d of %d, %d tasks", w.name, i+1, b.runs, tasks)
			r, err := w.run(b, ctx, tasks)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			runs = append(runs, r)
		}
		report.Workloads = append(report.Workloads, summarize(w.name, tasks, runs))
	}
	return b.report(&report)
}

// ready returns the servers, or an error if the cluster has no leader or no worker.
func (b *bench) ready(ctx context.Context) (client.ClusterInfo, error) {
	ctx, cancel := b.request(ctx)
	defer cancel()
	workers, err := b.client.Workers(ctx, client.WorkersOptions{})
	if err != nil {
		return client.ClusterInfo{}, err
	}
	if len(workers) == 0 {
		return client.ClusterInfo{}, task.Errorf(task.KindUnavailable, "the cluster has no workers: start some with rota worker start")
	}
	return b.client.Status(ctx)
}

// array runs no-op tasks as one array job.
func (b *bench) array(ctx context.Context, tasks int) (benchRun, error) {
	spec := task.Spec{Name: "bench-array", Handler: "rota.noop"}
	return b.job(ctx, client.Request{Spec: spec, Count: tasks}, tasks, func(int) []byte { return nil })
}

// distinct runs tasks with payloads of their own.
func (b *bench) distinct(ctx context.Context, tasks int) (benchRun, error) {
	payloads := func(yield func([]byte) bool) {
		for i := range tasks {
			if !yield(benchPayload(i)) {
				return
			}
		}
	}
	spec := task.Spec{Name: "bench-distinct", Handler: "rota.noop"}
	return b.job(ctx, client.Request{Spec: spec, Payloads: payloads}, tasks, func(i int) []byte { return noopResult(benchPayload(i)) })
}

// benchPayload is 64 bytes that no other task has.
func benchPayload(i int) []byte { return fmt.Appendf(nil, "%064d", i) }

// job measures one job and checks each of its results.
func (b *bench) job(ctx context.Context, r client.Request, tasks int, want func(i int) []byte) (run benchRun, err error) {
	start := time.Now()
	job, err := b.client.Submit(ctx, r)
	if err != nil {
		return run, err
	}
	run.submit = time.Since(start).Seconds()
	seen := make([]bool, tasks)
	count := 0
	for r, err := range job.AsCompleted(ctx) {
		if err != nil {
			return run, err
		}
		if err := checkResult(&r, job.ID(), seen, want); err != nil {
			return run, err
		}
		count++
	}
	run.total = time.Since(start).Seconds()
	if count != tasks {
		return run, fmt.Errorf("job %d: %d of %d results arrived", job.ID(), count, tasks)
	}
	return run, nil
}

func checkResult(r *client.Result, job uint64, seen []bool, want func(i int) []byte) error {
	i := int(r.Index)
	switch {
	case i >= len(seen):
		return fmt.Errorf("a result arrived for task %d.%d, which does not exist", job, i)
	case seen[i]:
		return fmt.Errorf("the result of task %d.%d arrived twice", job, i)
	case r.State != task.Succeeded:
		return fmt.Errorf("task %d.%d %s: %s", job, i, r.State, r.Error)
	case string(r.Output) != string(want(i)):
		return fmt.Errorf("the result of task %d.%d is %x, not %x", job, i, r.Output, want(i))
	}
	seen[i] = true
	return nil
}

// single runs jobs of one task, one after the other.
func (b *bench) single(ctx context.Context, tasks int) (run benchRun, err error) {
	start := time.Now()
	spec := task.Spec{Name: "bench-single", Handler: "rota.noop"}
	for i := range tasks {
		payload := benchPayload(i)
		spec.SharedPayload = payload
		r, err := b.job(ctx, client.Request{Spec: spec}, 1, func(int) []byte { return noopResult(payload) })
		if err != nil {
			return run, err
		}
		run.submit += r.submit
		run.latencies = append(run.latencies, time.Duration(r.total*float64(time.Second)))
	}
	run.total = time.Since(start).Seconds()
	return run, nil
}
