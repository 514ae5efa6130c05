package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/rota-scheduler/rota/task"
)

// mapLinger is how long an input of Map waits for others, so that they share a request.
const mapLinger = 50 * time.Millisecond

// Map runs a task for each input and returns the results in the order of the
// inputs. Inputs are read, and tasks started, once the results are asked for; that
// may be done once. Tasks start while inputs are still to come: a goroutine reads
// them, and may read one more after the loop has ended. No inputs make no job. When
// the caller stops early, or ctx ends, or anything fails, the job is cancelled. A
// task that failed is a Result like another, and no error.
func (c *Client) Map(ctx context.Context, spec task.Spec, inputs iter.Seq[[]byte]) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		outer := ctx
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		m := c.startMap(ctx, cancel, spec, inputs)
		job := m.wait()
		complete := false
		if job != nil {
			// Deferred, so that it also runs when the caller's loop panics.
			defer func() {
				if !complete {
					cancel()
					job.cleanup(outer)
				}
			}()
			for r, err := range job.Results(ctx) {
				if err != nil {
					yield(Result{}, m.cause(err))
					return
				}
				if !yield(r, nil) {
					return
				}
			}
		}
		if err := m.end(); err != nil {
			yield(Result{}, err)
			return
		}
		complete = true
	}
}

// mapping is the submit of a job whose results are read meanwhile.
type mapping struct {
	begun chan *Job
	// submitted is closed when the submit has ended, with err, or because the inputs panicked.
	submitted chan struct{}
	err       error
	panicked  any
}

// startMap begins to submit a job. stop is called where that fails: its results will never be whole.
func (c *Client) startMap(ctx context.Context, stop func(), spec task.Spec, inputs iter.Seq[[]byte]) *mapping {
	m := &mapping{begun: make(chan *Job, 1), submitted: make(chan struct{})}
	r := Request{Spec: spec, Payloads: inputs, Linger: mapLinger, Begun: func(j *Job) { m.begun <- j }}
	go func() {
		defer func() {
			m.panicked = recover()
			close(m.submitted)
			if m.err != nil || m.panicked != nil {
				stop()
			}
		}()
		if _, err := c.Submit(ctx, r); err != nil && !errors.Is(err, errNoTasks) {
			m.err = fmt.Errorf("map: %w", err)
		}
	}()
	return m
}

// wait returns the job once it has an id; nil if it never has one.
func (m *mapping) wait() *Job {
	select {
	case job := <-m.begun:
		return job
	case <-m.submitted:
	}
	select {
	case job := <-m.begun:
		return job
	default:
		return nil
	}
}

// cause is why results ended with err: for lack of inputs, where those could not be submitted.
func (m *mapping) cause(err error) error {
	select {
	case <-m.submitted:
		if why := m.end(); why != nil {
			return why
		}
	default:
	}
	return err
}

// end waits for the end of the submit, and returns its error. A panic of the inputs is that of the
// loop over the results: nobody could recover from it elsewhere.
func (m *mapping) end() error {
	<-m.submitted
	if m.panicked != nil {
		panic(m.panicked)
	}
	return m.err
}
