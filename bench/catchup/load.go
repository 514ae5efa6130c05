package catchup

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

const (
	// TasksPerJob is how many tasks a job of the load has.
	TasksPerJob = 16
	// PayloadBytes is how large the payload of each of these tasks is. So a job has 64 KiB.
	PayloadBytes = 4 << 10
	// The jobs that fill the state: fewer and larger than those of the load.
	fillTasks, fillBytes = 64, 64 << 10
	// fillers is how many submit them side by side.
	fillers = 4
	// maxWaiting bounds the submits of the load that wait for their answer. If there are more, the load is not
	// reached, which is an error.
	maxWaiting = 4096

	noop = "rota.noop"
)

// job is a request of tasks with payloads of their own.
func job(tasks, bytes int) client.Request {
	return client.Request{Spec: task.Spec{Name: "catchup", Handler: noop}, Payloads: func(yield func([]byte) bool) {
		payload := make([]byte, bytes)
		for i := range tasks {
			payload[0] = byte(i)
			if !yield(payload) {
				return
			}
		}
	}}
}

// fill submits jobs until enough says so.
func fill(ctx context.Context, c *client.Client, enough func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var parts sync.WaitGroup
	var full atomic.Bool
	errs := make([]error, fillers)
	for i := range fillers {
		parts.Go(func() {
			for !full.Load() && errs[i] == nil {
				if _, errs[i] = c.Submit(ctx, job(fillTasks, fillBytes)); errs[i] != nil {
					cancel()
				}
			}
		})
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var err error
	for !full.Load() && err == nil {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-tick.C:
			var done bool
			done, err = enough(ctx)
			full.Store(done)
		}
	}
	if err != nil {
		cancel()
	}
	parts.Wait()
	return errors.Join(errors.Join(errs...), err)
}

// load submits jobs at an even pace, whatever becomes of those before.
type load struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu   sync.Mutex
	took []time.Duration
	err  error
}

func startLoad(ctx context.Context, c *client.Client, perSecond int) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{cancel: cancel}
	l.done.Go(func() { l.run(ctx, c, time.Second/time.Duration(perSecond)) })
	return l
}

func (l *load) run(ctx context.Context, c *client.Client, every time.Duration) {
	waiting := make(chan struct{}, maxWaiting)
	for due := time.Now(); ; due = due.Add(every) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(due)):
		}
		select {
		case waiting <- struct{}{}:
		default:
			l.note(0, errors.New("submits are not answered as fast as they come: use a lower --jobs"))
			return
		}
		// Timed from when it was due: a stall also holds up those that should have come meanwhile.
		l.done.Go(func() {
			_, err := c.Submit(context.WithoutCancel(ctx), job(TasksPerJob, PayloadBytes))
			l.note(time.Since(due), err)
			<-waiting
		})
	}
}

func (l *load) note(took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, err)
	if err == nil {
		l.took = append(l.took, took)
	}
}

// take returns how long the submits took that were answered since the last time.
func (l *load) take() ([]time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := l.took
	l.took = nil
	return took, l.err
}

func (l *load) stop() error {
	l.cancel()
	l.done.Wait()
	_, err := l.take()
	return err
}
