package hostile

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

const (
	// politeSubmitters is how many clients submit small jobs, each one after the other.
	politeSubmitters = 4
	// politeTasks is how many tasks each of their jobs has.
	politeTasks = 3
	// politeLookEvery is how often one of them reads the lists of jobs and workers.
	politeLookEvery = 100 * time.Millisecond
	// politePage is how many jobs it reads.
	politePage = 20
)

// polite is clients that do what users do.
type polite struct {
	cl *client.Client
	// jobs is how many jobs have ended with the right results.
	jobs atomic.Int64

	end   chan struct{}
	loops sync.WaitGroup
	once  sync.Once
	mu    sync.Mutex
	err   error
}

func startPolite(cl *client.Client) *polite {
	p := &polite{cl: cl, end: make(chan struct{})}
	for i := range politeSubmitters {
		p.loop(0, func(ctx context.Context, round int) error {
			return p.runJob(ctx, "polite "+strconv.Itoa(i)+"."+strconv.Itoa(round)+".")
		})
	}
	p.loop(politeLookEvery, func(ctx context.Context, _ int) error { return p.look(ctx) })
	return p
}

// loop repeats a step until the end or its first error.
func (p *polite) loop(pause time.Duration, step func(ctx context.Context, round int) error) {
	p.loops.Go(func() {
		for round := 0; ; round++ {
			ctx, cancel := context.WithTimeout(context.Background(), within)
			err := step(ctx, round)
			cancel()
			if err != nil {
				p.fail(err)
				return
			}
			select {
			case <-p.end:
				return
			case <-time.After(pause):
			}
		}
	})
}

// runJob submits a job and checks its results.
func (p *polite) runJob(ctx context.Context, text string) error {
	var payloads [][]byte
	for i := range politeTasks {
		payloads = append(payloads, []byte(text+strconv.Itoa(i)))
	}
	job, err := p.cl.Submit(ctx, client.Request{
		Spec: task.Spec{Name: "polite", Handler: "rota.echo"}, Payloads: client.Payloads(payloads...),
	})
	if err != nil {
		return err
	}
	got := 0
	for r, err := range job.AsCompleted(ctx) {
		if err != nil {
			return fmt.Errorf("read the results of job %d: %w", job.ID(), err)
		}
		if r.State != task.Succeeded || !bytes.Equal(r.Output, payloads[r.Index]) {
			return fmt.Errorf("task %d.%d has %v with output %q, not %q: %s", job.ID(), r.Index, r.State, r.Output, payloads[r.Index], r.Error)
		}
		got++
	}
	if got != politeTasks {
		return fmt.Errorf("job %d has %d results", job.ID(), got)
	}
	p.jobs.Add(1)
	return nil
}

// look reads the lists as `rota job list` and `rota worker list` do.
func (p *polite) look(ctx context.Context) error {
	seen := 0
	for _, err := range p.cl.List(ctx, client.ListOptions{PageSize: politePage}) {
		if err != nil {
			return err
		}
		if seen++; seen == politePage {
			break
		}
	}
	_, err := p.cl.Workers(ctx, client.WorkersOptions{})
	return err
}

func (p *polite) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// failed is the first error, if there was one.
func (p *polite) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// stop ends the loops after their current step, and returns the first error.
func (p *polite) stop() error {
	p.once.Do(func() { close(p.end) })
	p.loops.Wait()
	return p.failed()
}
