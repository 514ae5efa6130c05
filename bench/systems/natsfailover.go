package systems

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/rota-scheduler/rota/bench/child"
	"github.com/rota-scheduler/rota/bench/harness"
)

// natsAttempt is how long one publish may take before it is tried again.
const natsAttempt = 250 * time.Millisecond

// failover loses the leader of the task stream again and again.
func (n *NATS) failover(ctx context.Context, load *harness.Load) (harness.Measure, error) {
	return losses(load, func(i int) (accepted, result time.Duration, err error) { return n.loseLeader(ctx, load, i) })
}

func (n *NATS) loseLeader(ctx context.Context, load *harness.Load, i int) (accepted, result time.Duration, err error) {
	healthy := *load
	healthy.Round += 1 << 16
	before := n.results.wait(healthy.ID(i))
	if err := n.publishAgain(ctx, &healthy, i); err != nil {
		return 0, 0, err
	}
	if err := await(ctx, &healthy, i, before); err != nil {
		return 0, 0, err
	}
	at, err := n.leader(ctx)
	if err != nil {
		return 0, 0, err
	}
	server := n.servers[at]
	arrived := n.results.wait(load.ID(i))
	start := time.Now()
	if load.How == harness.Pause {
		err = server.Pause()
	} else {
		err = server.Signal(syscall.SIGKILL)
	}
	if err != nil {
		return 0, 0, err
	}
	if err := n.publishAgain(ctx, load, i); err != nil {
		return 0, 0, err
	}
	accepted = time.Since(start)
	if err := await(ctx, load, i, arrived); err != nil {
		return 0, 0, err
	}
	result = time.Since(start)
	return accepted, result, n.heal(ctx, server, load.How)
}

// publishAgain publishes task i until it is stored, as often as it takes.
func (n *NATS) publishAgain(ctx context.Context, load *harness.Load, i int) error {
	payload := load.Payload(i)
	err := child.Poll(ctx, func() error {
		attempt, cancel := context.WithTimeout(ctx, natsAttempt)
		defer cancel()
		_, err := n.js.Publish(attempt, "tasks", payload)
		return err
	})
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// await waits for the result of task i.
func await(ctx context.Context, load *harness.Load, i int, result <-chan []byte) error {
	select {
	case got := <-result:
		if string(got) != string(harness.Work(load.Payload(i))) {
			return fmt.Errorf("the result is %x", got)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the result: %w", ctx.Err())
	}
}

// leader is the server that leads the task stream.
func (n *NATS) leader(ctx context.Context) (at int, err error) {
	err = child.Poll(ctx, func() error {
		probe, cancel := context.WithTimeout(ctx, natsProbe)
		defer cancel()
		stream, err := n.js.Stream(probe, taskStream)
		if err != nil {
			return err
		}
		cluster := stream.CachedInfo().Cluster
		if cluster == nil {
			return fmt.Errorf("stream %s is in no cluster", taskStream)
		}
		if at = slices.Index(n.names, cluster.Leader); at < 0 {
			return fmt.Errorf("stream %s is led by %q", taskStream, cluster.Leader)
		}
		return nil
	})
	return at, err
}

// heal brings a server back and waits until every replica of both streams is current.
func (n *NATS) heal(ctx context.Context, s *child.Process, how string) error {
	if how == harness.Pause {
		if err := s.Resume(); err != nil {
			return err
		}
	} else {
		<-s.Done()
		if err := s.Start(ctx); err != nil {
			return err
		}
	}
	return child.Poll(ctx, func() error {
		for _, name := range []string{taskStream, resultStream} {
			probe, cancel := context.WithTimeout(ctx, natsProbe)
			stream, err := n.js.Stream(probe, name)
			cancel()
			if err != nil {
				return err
			}
			cluster := stream.CachedInfo().Cluster
			if cluster == nil || cluster.Leader == "" || len(cluster.Replicas) != natsServers-1 {
				return fmt.Errorf("stream %s is not whole", name)
			}
			for _, replica := range cluster.Replicas {
				if !replica.Current || replica.Offline {
					return fmt.Errorf("replica %s of stream %s is not current", replica.Name, name)
				}
			}
		}
		return nil
	})
}
