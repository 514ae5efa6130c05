package systems

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/rota-scheduler/rota/bench/child"
	"github.com/rota-scheduler/rota/bench/harness"
	"github.com/rota-scheduler/rota/bench/rotacluster"
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
	leader := r.cluster.Server(info.Leader)
	if leader == nil {
		return 0, 0, fmt.Errorf("there is no leader, but %q", info.Leader)
	}
	signal := syscall.SIGKILL
	if load.How == harness.Pause {
		signal = syscall.SIGSTOP
	}
	start := time.Now()
	if err := leader.Signal(signal); err != nil {
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
	return accepted, result, r.heal(ctx, leader, load.How)
}

// heal brings a server back and waits until it follows.
func (r *Rota) heal(ctx context.Context, s *rotacluster.Process, how string) error {
	if how == harness.Pause {
		if err := s.Signal(syscall.SIGCONT); err != nil {
			return err
		}
	} else {
		<-s.Done()
		if err := s.Start(); err != nil {
			return err
		}
	}
	if err := s.WaitReady(ctx); err != nil {
		return err
	}
	return child.Poll(ctx, func() error {
		info, err := r.client.Status(ctx)
		if err != nil {
			return err
		}
		for _, server := range info.Servers {
			if server.AppliedIndex < info.AppliedIndex || server.State != "leader" && server.State != "follower" {
				return fmt.Errorf("%s is %s at %d of %d", server.ID, server.State, server.AppliedIndex, info.AppliedIndex)
			}
		}
		return nil
	})
}
