package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// tally is how the tasks of a job ended.
type tally struct {
	total, failed, cancelled int
	// exit is the exit code of the first command that ended with another than 0.
	exit *int
	// firstFailed is the first task that failed; later counts those behind it that ran all the same.
	firstFailed uint32
	later       int
}

// add counts a result.
func (t *tally) add(r *client.Result) {
	t.total++
	switch r.State {
	case task.Failed:
		t.failed++
	case task.Cancelled:
		t.cancelled++
	}
	switch {
	case r.State == task.Cancelled:
	case t.failed > 1 || t.failed == 1 && r.State != task.Failed:
		t.later++
	case t.failed == 1:
		t.firstFailed = r.Index
	}
	if t.exit == nil && r.ExitCode != nil && *r.ExitCode != 0 {
		t.exit = r.ExitCode
	}
}

// err is the error for a job that did not succeed; nil where it did.
func (t *tally) err(job uint64) error {
	switch {
	case t.failed > 0:
		return &codeError{exitJobFailed, fmt.Errorf("job %d failed: %d of %s failed", job, t.failed, plural(t.total, "task"))}
	case t.cancelled > 0:
		return &codeError{exitCancelled, fmt.Errorf("job %d was cancelled: %d of %s did not run to the end", job, t.cancelled, plural(t.total, "task"))}
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

// await waits until a job is over. The error says how it ended, unless it succeeded.
func (a *app) await(ctx context.Context, job *client.Job, timeout time.Duration) (info client.JobInfo, err error) {
	wait, cancel := waiting(ctx, timeout)
	defer cancel()
	return a.awaitUnder(wait, job, timeout)
}

// awaitUnder is await under a context of waiting.
func (a *app) awaitUnder(wait context.Context, job *client.Job, timeout time.Duration) (info client.JobInfo, err error) {
	s := a.newScreen(wait, job)
	info, err = job.Wait(wait)
	err = errors.Join(waitError(wait, job.ID(), timeout, err), s.close())
	if err != nil {
		return info, err
	}
	return info, jobError(info)
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
	// serial: it is said that tasks ran behind one that failed.
	serial  bool
	cursor  []byte
	timeout time.Duration
	// whole is closed when all tasks of the job are there, from when on the timeout counts; nil: they are.
	whole <-chan struct{}
	// quiet: failures are not explained on standard error.
	quiet bool
}

// collect prints the results of a job until it is over.
func (a *app) collect(ctx context.Context, c collection) (t tally, err error) {
	defer noticeBrokenPipes()()
	wait, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if c.timeout > 0 {
		go c.limit(wait, cancel)
	}
	s := a.newScreen(wait, c.job)
	s.onFailure = cancel
	defer func() {
		if failed := s.close(); failed != nil {
			err = failed
			return
		}
		err = waitError(wait, c.job.ID(), c.timeout, err)
	}()
	job := c.job
	if !c.raw || a.format != formatTable {
		job = job.WithInputs()
	}
	results := job.Results(wait)
	if c.asCompleted {
		results = job.AsCompletedFrom(wait, c.cursor)
	}
	show, end := a.printer(s, &c)
	t, err = take(results, func(r *client.Result) error {
		switch {
		case c.quiet:
		case r.State != task.Succeeded:
			explain(s, c.job.ID(), r)
		case a.format == formatTable && len(r.Stderr) > 0:
			s.pass(r.Stderr)
		}
		if err := show(r); err != nil || c.quiet || r.OutputMissing == 0 {
			return err
		}
		s.say("rota: task %d.%d: the output lacks %s after the first %s (to keep all of it: --stdout file:PATH)",
			c.job.ID(), r.Index, bytesText(r.OutputMissing), thousands(uint64(r.OutputHead)))
		return nil
	})
	if err != nil {
		return t, err
	}
	if c.serial && t.later > 0 && !c.quiet {
		s.say("rota: --serial keeps the order and does not stop: %s ran after task %v, which failed",
			plural(t.later, "task"), task.ID{Job: c.job.ID(), Index: t.firstFailed})
	}
	return t, end()
}

// limit ends the wait for results when its time is over.
func (c *collection) limit(ctx context.Context, stop context.CancelCauseFunc) {
	if c.whole != nil {
		select {
		case <-c.whole:
		case <-ctx.Done():
			return
		}
	}
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	select {
	case <-timer.C:
		stop(errWaitTimeout)
	case <-ctx.Done():
	}
}

// noticeBrokenPipes makes writing to a standard output that nobody reads any more an error, until the
// function that it returns is called. Otherwise it ends this process, and nothing can be said, or
// done, about the job. Programs that are started meanwhile do not inherit it.
func noticeBrokenPipes() func() {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGPIPE)
	return func() { signal.Stop(ch) }
}

// take counts results while f prints them.
func take(results iter.Seq2[client.Result, error], f func(r *client.Result) error) (t tally, err error) {
	for r, err := range results {
		if err != nil {
			return t, err
		}
		t.add(&r)
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
			return s.data(func(io.Writer) error { return list.add(resultJSON(c.job.ID(), r, c.asCompleted)) })
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
	const row = "%-8v  %-9s  %-11s  %-7v  %-4s  %-24s  %s\n"
	first := true
	return func(r *client.Result) error {
		return s.data(func(w io.Writer) error {
			if first {
				first = false
				if _, err := fmt.Fprintf(w, row, "TASK", "STATE", "REASON", "ATTEMPT", "EXIT", "INPUT", "OUTPUT"); err != nil {
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
			_, err := io.WriteString(w, visibly(row, r.Index, r.State, orDash(r.Reason.String()), r.Attempt, exit, inputCell(r), orDash(text)))
			return err
		})
	}, nothing
}

// explain says why a task did not succeed, behind what it had to say itself.
func explain(s *screen, job uint64, r *client.Result) {
	text := visibly("rota: task %d.%d %s", job, r.Index, r.State)
	if r.Reason != task.NoReason && r.Reason != task.ReasonExitCode {
		// Of an exit code, the error says which.
		text += ": " + r.Reason.String()
	}
	if r.Error != "" {
		text += ": " + oneLine(r.Error, 300)
	}
	s.sayBehind(r.Stderr, "%s", text+which(r))
}
