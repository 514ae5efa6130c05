package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// tally is how the tasks of a job ended.
type tally struct {
	total, failed, cancelled int
	// exit is the exit code of the first command that ended with another than 0.
	exit *int
}

// err is the error for a job that did not succeed; nil where it did.
func (t *tally) err(job uint64) error {
	switch {
	case t.failed > 0:
		return &codeError{exitJobFailed, fmt.Errorf("job %d failed: %d of %d tasks failed", job, t.failed, t.total)}
	case t.cancelled > 0:
		return &codeError{exitCancelled, fmt.Errorf("job %d was cancelled: %d of %d tasks did not run to their end", job, t.cancelled, t.total)}
	}
	return nil
}

// jobError is the error for a finished job that did not succeed; nil where it did.
func jobError(info client.JobInfo) error {
	t := tally{total: int(info.Total), failed: int(info.Counts[task.Failed]), cancelled: int(info.Counts[task.Cancelled])}
	if info.State == task.JobCancelled && info.Total == 0 {
		return &codeError{exitCancelled, fmt.Errorf("job %d was cancelled before it had tasks", info.ID)}
	}
	return t.err(info.ID)
}

// waiting returns a context for the wait for a job, which ends after timeout; 0: never.
func waiting(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, timeout, errWaitTimeout)
}

// waitError explains the end of a wait. The job knows nothing of it and goes on.
func waitError(ctx context.Context, job uint64, timeout time.Duration, err error) error {
	switch cause := context.Cause(ctx); {
	case err == nil:
		return nil
	case errors.Is(cause, errWaitTimeout):
		return fmt.Errorf("%w: job %d is not over after %v and goes on (to wait again: rota job wait %d)", errWaitTimeout, job, timeout, job)
	case errors.Is(cause, errInterrupted):
		return fmt.Errorf("%w: job %d goes on (to cancel it: rota job cancel %d)", errInterrupted, job, job)
	}
	return err
}

// collection is how the results of a job are printed.
type collection struct {
	job *client.Job
	// raw: outputs as they are; otherwise in a table, if not as JSON.
	raw bool
	// lines: each raw output stands on a line of its own. Handlers return values,
	// which have no line ends; commands print what they print.
	lines       bool
	asCompleted bool
	cursor      []byte
	timeout     time.Duration
	// quiet: failures are not explained on standard error.
	quiet bool
}

// collect prints the results of a job until it is over.
func (a *app) collect(ctx context.Context, c collection) (t tally, err error) {
	wait, cancel := waiting(ctx, c.timeout)
	defer cancel()
	s := a.newScreen(wait, c.job)
	defer func() {
		err = errors.Join(waitError(wait, c.job.ID(), c.timeout, err), s.close())
	}()
	results := c.job.Results(wait)
	if c.asCompleted {
		results = c.job.AsCompletedFrom(wait, c.cursor)
	}
	show, end := a.printer(s, &c)
	t, err = take(results, func(r *client.Result) error {
		if r.State != task.Succeeded && !c.quiet {
			explain(s, c.job.ID(), r)
		}
		return show(r)
	})
	if err != nil {
		return t, err
	}
	return t, end()
}

// take counts results while f prints them.
func take(results iter.Seq2[client.Result, error], f func(r *client.Result) error) (t tally, err error) {
	for r, err := range results {
		if err != nil {
			return t, err
		}
		t.total++
		switch r.State {
		case task.Failed:
			t.failed++
		case task.Cancelled:
			t.cancelled++
		}
		if t.exit == nil && r.ExitCode != nil && *r.ExitCode != 0 {
			t.exit = r.ExitCode
		}
		if err := f(&r); err != nil {
			return t, err
		}
	}
	return t, nil
}

// printer returns what prints one result, and what ends the printing.
func (a *app) printer(s *screen, c *collection) (show func(r *client.Result) error, end func() error) {
	nothing := func() error { return nil }
	if a.format != formatTable {
		list := a.newJSONList(s.out)
		show = func(r *client.Result) error {
			return s.data(func(io.Writer) error { return list.add(shapeResult(c.job.ID(), r, c.asCompleted)) })
		}
		return show, func() error { return s.data(func(io.Writer) error { return list.end() }) }
	}
	if c.raw {
		return func(r *client.Result) error {
			if len(r.Output) == 0 {
				return nil
			}
			return s.data(func(w io.Writer) error {
				_, err := w.Write(r.Output)
				if err == nil && c.lines && r.Output[len(r.Output)-1] != '\n' {
					_, err = io.WriteString(w, "\n")
				}
				return err
			})
		}, nothing
	}
	// Rows are printed as they come, so their columns cannot be as wide as their widest cell.
	const row = "%-8v  %-9s  %-11s  %-7v  %-4s  %s\n"
	first := true
	return func(r *client.Result) error {
		return s.data(func(w io.Writer) error {
			if first {
				first = false
				if _, err := fmt.Fprintf(w, row, "TASK", "STATE", "REASON", "ATTEMPT", "EXIT", "OUTPUT"); err != nil {
					return err
				}
			}
			exit, text := "-", oneLine(string(r.Output), 60)
			if r.ExitCode != nil {
				exit = fmt.Sprint(*r.ExitCode)
			}
			if r.State != task.Succeeded {
				text = oneLine(r.Error, 60)
			}
			_, err := io.WriteString(w, visibly(row, r.Index, r.State, orDash(r.Reason.String()), r.Attempt, exit, orDash(text)))
			return err
		})
	}, nothing
}

// explain says why a task did not succeed, behind what it had to say itself.
func explain(s *screen, job uint64, r *client.Result) {
	text := visibly("rota: task %d.%d %s", job, r.Index, r.State)
	if r.Reason != task.NoReason {
		text += ": " + r.Reason.String()
	}
	if r.Error != "" {
		text += ": " + oneLine(r.Error, 300)
	}
	if r.Attempt > 1 {
		text += fmt.Sprintf(" (attempt %d)", r.Attempt)
	}
	s.sayBehind(r.Stderr, "%s", text)
}

func toUTF8(b []byte) string { return string(bytes.ToValidUTF8(b, []byte("?"))) }
