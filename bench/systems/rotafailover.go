package systems

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rota-scheduler/rota/bench/child"
	"github.com/rota-scheduler/rota/bench/harness"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// failover loses the leader again and again, and takes the time until a job is accepted
// and until its result is there.
func (r *Rota) failover(ctx context.Context, load *harness.Load) (harness.Measure, error) {
	return losses(load, func(i int) (accepted, result time.Duration, err error) { return r.loseLeader(ctx, load, i) })
}

// losses lets lose lose the leader as often as the load says.
func losses(load *harness.Load, lose func(i int) (accepted, result time.Duration, err error)) (harness.Measure, error) {
	m := harness.Measure{Tasks: load.Tasks}
	start := time.Now()
	for i := range load.Tasks {
		accepted, result, err := lose(i)
		if err != nil {
			return m, fmt.Errorf("loss %d of the leader: %w", i+1, err)
		}
		m.Accepted = append(m.Accepted, accepted)
		m.Latencies = append(m.Latencies, result)
	}
	m.Elapsed = time.Since(start)
	return m, nil
}

func (r *Rota) loseLeader(ctx context.Context, load *harness.Load, i int) (accepted, result time.Duration, err error) {
	// The state that a failover is measured from is a healthy one, with everything in
	// use that a client and the workers keep.
	if err := r.single(ctx, load, i); err != nil {
		return 0, 0, err
	}
	info, err := r.client.Status(ctx)
	if err != nil {
		return 0, 0, err
	}
	if info.Leader == "" {
		return 0, 0, errors.New("there is no leader to lose")
	}
	start := time.Now()
	if err := r.ground.Lose(info.Leader, load.How); err != nil {
		return 0, 0, err
	}
	job, err := r.client.Submit(ctx, client.Request{Spec: task.Spec{Handler: noopHandler, SharedPayload: load.Payload(i)}})
	if err != nil {
		return 0, 0, err
	}
	accepted = time.Since(start)
	for res, err := range job.AsCompleted(ctx) {
		if err == nil && (res.State != task.Succeeded || string(res.Output) != string(harness.Work(load.Payload(i)))) {
			err = fmt.Errorf("%s, result %x: %s", res.State, res.Output, res.Error)
		}
		if err != nil {
			return 0, 0, err
		}
		result = time.Since(start)
	}
	if result == 0 {
		return 0, 0, errors.New("the job ended without a result")
	}
	return accepted, result, r.heal(ctx, info.Leader, load.How)
}

// heal brings a server back and waits until the cluster is whole: every server has
// applied what the leader has, and every worker is attached to it.
func (r *Rota) heal(ctx context.Context, server, how string) error {
	if err := r.ground.Heal(ctx, server, how); err != nil {
		return err
	}
	return child.Poll(ctx, func() error {
		info, err := r.client.Status(ctx)
		if err != nil {
			return err
		}
		workers, err := r.client.Workers(ctx, client.WorkersOptions{})
		if err != nil {
			return err
		}
		return whole(info, workers, r.Servers)
	})
}

// whole says what a cluster of so many servers still lacks.
func whole(info client.ClusterInfo, workers []client.WorkerInfo, servers int) error {
	if len(info.Servers) != servers || info.Leader == "" {
		return fmt.Errorf("%d of %d servers are there, and the leader is %q", len(info.Servers), servers, info.Leader)
	}
	for _, s := range info.Servers {
		if s.AppliedIndex < info.AppliedIndex || s.State != "leader" && s.State != "follower" {
			return fmt.Errorf("%s is %s at %d of %d", s.ID, s.State, s.AppliedIndex, info.AppliedIndex)
		}
	}
	attached := 0
	for _, w := range workers {
		if w.Connected {
			attached++
		}
	}
	if attached < harness.Workers {
		return fmt.Errorf("%d of %d workers are attached", attached, harness.Workers)
	}
	return nil
}
