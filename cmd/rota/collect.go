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

// tally counts how the tasks of a job ended.
type tally struct {
	total, failed, cancelled int
	// exit is the exit code of the first command that did not end with 0; nil: there is none.
	exit *int
	// firstFailed is the first task that failed, later how many tasks ran after it.
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

// err is the error for a job that did not succeed; nil if it did.
func (t *tally) err(job uint64) error {
	switch {
	case t.failed > 0:
		return &codeError{exitJobFailed, fmt.Errorf("job %d failed: %d of %s failed", job, t.failed, plural(t.total, "task"))}
	case t.cancelled > 0:
		return &codeError{exitCancelled, fmt.Errorf("job %d was cancelled: %d of %s did not run to the end", job, t.cancelled, plural(t.total, "task"))}
	}
	return nil
}

// jobError is the error for a finished job that did not succeed; nil if it did.
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

// waitError explains why a wait ended. The job itself goes on.
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

// awaitUnder is await with a context that waiting has returned.
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
	// raw: print the outputs byte for byte and not in a table. It says nothing about JSON.
	raw bool
	// lines: end each raw output with a newline if it has none. Handlers return values
	// without line ends; what commands print stays as it is.
	lines       bool
	asCompleted bool
	// live: print the output of the next task as it comes.
	live bool
	// serial: say so if tasks ran after one that failed.
	serial  bool
	cursor  []byte
	timeout time.Duration
	// whole is closed once the job has all of its tasks; the timeout counts from then on. nil: it has them.
	whole <-chan struct{}
	// quiet: do not explain failures on standard error.
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
	var l *live
	if c.live {
		l = &live{s: s, job: job}
		l.begin(wait, 0)
		defer l.close()
	}
	t, err = take(results, func(r *client.Result) error {
		if l != nil {
			l.end(r)
			defer l.begin(wait, r.Index+1)
		}
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

// noticeBrokenPipes makes it an error to write to a standard output that nobody reads any more, until the
// function that it returns is called. Otherwise the signal SIGPIPE ends this process, which can then neither
// cancel the job nor say that it goes on. Child processes do not inherit this.
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
	// Rows are printed as they arrive, so the columns have fixed widths.
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

// explain says why a task did not succeed, after what the task itself wrote to standard error.
func explain(s *screen, job uint64, r *client.Result) {
	text := visibly("rota: task %d.%d %s", job, r.Index, r.State)
	if r.Reason != task.NoReason && r.Reason != task.ReasonExitCode {
		// The error names the exit code.
		text += ": " + r.Reason.String()
	}
	if r.Error != "" {
		text += ": " + oneLine(r.Error, 300)
	}
	s.sayBehind(r.Stderr, "%s", text+which(r))
}
