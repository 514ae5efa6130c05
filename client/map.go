package client

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/rota-scheduler/rota/task"
)

// Map runs a task for each input and returns the results in the order of the
// inputs. Inputs are read, and tasks started, once the results are asked for; that
// may be done once. No inputs make no job. When the caller stops early, or ctx
// ends, or anything fails, the job is cancelled. A task that failed is a Result
// like another, and no error.
func (c *Client) Map(ctx context.Context, spec task.Spec, inputs iter.Seq[[]byte]) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		job, err := c.Submit(ctx, Request{Spec: spec, Payloads: inputs})
		complete := false
		if job != nil {
			// Deferred, so that it also runs when the caller's loop panics.
			defer func() {
				if !complete {
					job.cleanup(ctx)
				}
			}()
		}
		if err != nil {
			if !errors.Is(err, errNoTasks) {
				yield(Result{}, fmt.Errorf("map: %w", err))
			}
			return
		}
		for r, err := range job.Results(ctx) {
			if !yield(r, err) || err != nil {
				return
			}
		}
		complete = true
	}
}
