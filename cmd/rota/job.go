package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// defaultJobs is how many jobs job list shows.
const defaultJobs = 50

func (a *app) jobCmd() *cobra.Command {
	cmd := group("job", "Look at jobs, wait for them, cancel and retry them",
		a.jobListCmd(), a.jobGetCmd(), a.jobWaitCmd(), a.jobResultsCmd(), a.jobLogsCmd(), a.jobCancelCmd(), a.jobRetryCmd())
	a.clientFlags(cmd)
	return cmd
}

// jobID parses an argument that names a job.
func jobID(arg string) (uint64, error) {
	id, err := task.ParseJobID(arg)
	return id, usageOf(err)
}

// taskID parses an argument that names a job or a task.
func taskID(arg string) (task.ID, bool, error) {
	id, isTask, err := task.ParseID(arg)
	return id, isTask, usageOf(err)
}

func (a *app) jobListCmd() *cobra.Command {
	var filter jobFilter
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List jobs, newest first", Args: wantArgs(),
		Example: "  rota job list\n  rota job list --state failed,cancelled --limit 0\n  rota job list --queue nightly -o jsonl",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := filter.parse(); err != nil {
				return err
			}
			if limit < 0 {
				return usagef("--limit %d is negative", limit)
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return a.listJobs(ctx, c, filter.options, limit)
			})
		},
	}
	f := cmd.Flags()
	filter.add(f, "only jobs")
	f.IntVar(&limit, "limit", defaultJobs, "show at most this many; 0: all")
	f.BoolVar(&filter.options.Stale, "stale", false, "let any server answer from its own state, which may be old")
	return cmd
}

// listJobs lists jobs. Each page is a request with a timeout of its own, because a list may be long.
func (a *app) listJobs(ctx context.Context, c *client.Client, opts client.ListOptions, limit int) error {
	if limit > 0 {
		opts.PageSize = uint32(min(limit, 1000))
	}
	var show func(j client.JobInfo) error
	var end func() error
	if a.format != formatTable {
		list := a.newJSONList(a.out)
		show, end = func(j client.JobInfo) error { return list.add(jobJSON(j)) }, list.end
	} else {
		t := a.newTable("ID", "NAME", "QUEUE", "STATE", "TASKS", "DONE", "FAILED", "SUBMITTED", "TOOK")
		show = func(j client.JobInfo) error {
			t.row(fmt.Sprint(j.ID), j.Spec.Name, j.Spec.Queue, listState(j), count(j.Total), count(j.Counts.Final()),
				count(j.Counts[task.Failed]), ago(j.SubmittedAt), took(j))
			return nil
		}
		end = t.end
	}
	shown := 0
	for j, err := range c.List(ctx, opts) {
		if err != nil {
			return err
		}
		if limit > 0 && shown == limit {
			if a.format == formatTable {
				if err := end(); err != nil {
					return err
				}
				a.say("rota: there are more jobs; --limit 0 shows all")
				return nil
			}
			break
		}
		if err := show(j); err != nil {
			return err
		}
		shown++
	}
	return end()
}

// listState is the state of a job in a list. It also says how many tasks are tried again.
func listState(j client.JobInfo) string {
	if j.Retrying > 0 {
		return fmt.Sprintf("%v, %d retrying", j.State, j.Retrying)
	}
	return j.State.String()
}

// took is how long a job ran, or has run until now.
func took(j client.JobInfo) string {
	switch {
	case j.StartedAt.IsZero():
		return ""
	case j.FinishedAt.IsZero():
		return short(time.Since(j.StartedAt))
	}
	return short(j.FinishedAt.Sub(j.StartedAt))
}

func (a *app) jobGetCmd() *cobra.Command {
	return &cobra.Command{
		Use: "get ID|ID.TASK...", ValidArgsFunction: a.recentJobs(), Short: "Show jobs, or single tasks of them", Args: wantJobs,
		Long:    "Shows a job, or one task of it: its input, and how each attempt ended." + tasksHelp,
		Example: "  rota job get 42\n  rota job get 42.7 -o json\n  rota job get last.7",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := parseJobs(args, true, nil)
			if err != nil {
				return err
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error { return a.getJobs(ctx, c, &s) })
		},
	}
}

func (a *app) getJobs(ctx context.Context, c *client.Client, s *selection) error {
	add, end := a.jsonPrinter(s)
	shown := 0
	show := func(v any, fields func() error) error {
		if a.format != formatTable {
			return add(v)
		}
		if shown++; shown > 1 {
			if err := a.print("\n"); err != nil {
				return err
			}
		}
		return fields()
	}
	err := a.eachJob(ctx, c, s, func(n named) error {
		if n.isTask {
			t, err := c.Job(n.Job).Task(ctx, n.Index)
			if err != nil {
				return err
			}
			return show(taskJSON(n.Job, t), func() error { return a.printTask(n.Job, t) })
		}
		info, err := c.Job(n.Job).Info(ctx)
		if err != nil {
			return err
		}
		return show(jobJSON(info), func() error { return a.printJob(info) })
	})
	if a.format == formatTable || err != nil && s.single() {
		return err
	}
	return errors.Join(end(), err)
}

func (a *app) printJob(j client.JobInfo) error {
	work := "handler " + j.Spec.Handler
	if j.Spec.Handler == "" {
		work = oneLine(strings.Join(j.Spec.Command, " "), 100)
	}
	fields := [][2]string{
		{"Job", fmt.Sprint(j.ID)}, {"Name", j.Spec.Name}, {"Queue", j.Spec.Queue}, {"Work", work},
		{"State", j.State.String()}, {"Reason", j.Reason.String()}, {"Tasks", countsText(j)},
		{"Submitted", ago(j.SubmittedAt)}, {"Started", ago(j.StartedAt)}, {"Finished", ago(j.FinishedAt)}, {"Took", took(j)},
	}
	if j.Spec.Stdout != task.StdoutEnds {
		fields = append(fields, [2]string{"Output", j.Spec.StdoutText()})
	}
	if j.RetryOf != 0 {
		fields = append(fields, [2]string{"Retry of", fmt.Sprint(j.RetryOf)})
	}
	if !j.State.Final() && j.StartsAt.After(time.Now()) {
		fields = append(fields, [2]string{"Starts", startText(j.StartsAt)})
	}
	for _, why := range j.Missing {
		fields = append(fields, [2]string{"Waits", why})
	}
	if j.Retrying > 0 {
		fields = append(fields, [2]string{"Retrying", plural(int(j.Retrying), "task")})
	}
	if x := j.LastFailure; x != nil {
		text := fmt.Sprintf("task %v, attempt %d, %s: %s", task.ID{Job: j.ID, Index: x.Index}, x.Attempt, ago(x.EndedAt), oneLine(attemptText(x), 200))
		fields = append(fields, [2]string{"Last failure", text})
	}
	if j.Cancelling {
		fields = append(fields, [2]string{"Cancelling", "yes"})
	}
	return a.fields(fields...)
}

func countsText(j client.JobInfo) string {
	text := count(j.Total)
	for s := task.Blocked; s < task.NumStates; s++ {
		if n := j.Counts[s]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, s)
		}
		if s == task.Assigned && j.Running > 0 {
			text += fmt.Sprintf(" (%d running)", j.Running)
		}
	}
	return text
}

func (a *app) jobWaitCmd() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "wait ID...", ValidArgsFunction: a.recentJobs(), Short: "Wait until jobs are over",
		Long: "Waits until every task of a job has ended, and prints the job. The exit code is 0\n" +
			"if all tasks succeeded, 3 if some failed, 4 if the job was cancelled, and 124 if it took\n" +
			"longer than --wait-timeout. If several jobs did not succeed, the first of them decides." + jobsHelp,
		Example: "  rota job wait 42\n  rota job wait 40-42 --wait-timeout 10m",
		Args:    wantJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := parseJobs(args, false, nil)
			if err != nil {
				return err
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error { return a.waitJobs(ctx, c, &s, timeout) })
		},
	}
	cmd.Flags().DurationVar(&timeout, "wait-timeout", 0, "how long to wait; 0: no limit")
	return cmd
}

func (a *app) waitJobs(ctx context.Context, c *client.Client, s *selection, timeout time.Duration) error {
	add, end := a.jsonPrinter(s)
	wait, cancel := waiting(ctx, timeout)
	defer cancel()
	over := 0
	err := a.eachJob(wait, c, s, func(n named) error {
		job := c.Job(n.Job)
		if err := a.exists(wait, job); err != nil {
			return err
		}
		info, err := a.awaitUnder(wait, job, timeout)
		switch {
		case !info.State.Final():
			return err
		case a.format != formatTable:
			return errors.Join(add(jobJSON(info)), err)
		}
		if over++; over > 1 {
			err = errors.Join(a.print("\n"), err)
		}
		return errors.Join(a.printJob(info), err)
	})
	if a.format == formatTable || err != nil && s.single() {
		return err
	}
	return errors.Join(end(), err)
}

// exists reads a job once: if the job does not exist or no server answers, that must be
// an error and not an endless wait.
func (a *app) exists(ctx context.Context, job *client.Job) error {
	_, err := a.infoOf(ctx, job)
	return err
}

// infoOf reads a job, and does not wait long for it.
func (a *app) infoOf(ctx context.Context, job *client.Job) (client.JobInfo, error) {
	ctx, cancel := a.request(ctx)
	defer cancel()
	return job.Info(ctx)
}

func (a *app) jobResultsCmd() *cobra.Command {
	var asCompleted, raw bool
	var cursor string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "results ID", ValidArgsFunction: a.recentJobs(), Short: "Print the results of a job as they arrive, until the job is over",
		Long: "Prints how each task ended, in index order or as tasks complete, until the job is\n" +
			"over. The exit code does not say whether tasks failed. With --as-completed, each JSON\n" +
			"line has a cursor, and --cursor continues after it. last is the newest job.",
		Example: "  rota job results 42 -o jsonl\n  rota job results last --raw",
		Args:    wantArgs("a job id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			one, err := parseJob(args[0])
			if err != nil {
				return err
			}
			from, err := base64.RawURLEncoding.DecodeString(cursor)
			if err != nil {
				return usagef("malformed --cursor: use the cursor of a result")
			}
			if cursor != "" && !asCompleted {
				return usagef("--cursor needs --as-completed")
			}
			if raw && a.format != formatTable {
				return usagef("--raw and -o %s contradict each other: give one of them", a.format)
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				names, err := one.find(ctx, c)
				if err != nil {
					return err
				}
				job := c.Job(names[0].Job)
				if err := a.exists(ctx, job); err != nil {
					return err
				}
				_, err = a.collect(ctx, collection{
					job: job, raw: raw, asCompleted: asCompleted, cursor: from, timeout: timeout, quiet: !raw,
				})
				return err
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asCompleted, "as-completed", false, "print results as tasks complete, not in index order")
	f.BoolVar(&raw, "raw", false, "print only the outputs, byte for byte")
	f.StringVar(&cursor, "cursor", "", "continue after the result with this cursor")
	f.DurationVar(&timeout, "wait-timeout", 0, "how long to wait; 0: no limit")
	return cmd
}

func (a *app) jobCancelCmd() *cobra.Command {
	var filter jobFilter
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "cancel ID|ID.TASK|all...", ValidArgsFunction: a.recentJobs(), Short: "Cancel jobs, or single tasks of them",
		Long: "Cancels a job. Tasks that wait end at once. Tasks that workers hold end when their\n" +
			"workers have stopped them; --wait waits for that." + tasksHelp + "\n" +
			"all means every job that matches --queue, --name and --state; without --state, every job\n" +
			"that matches and is not over.",
		Example: "  rota job cancel 42\n  rota job cancel 42.7\n  rota job cancel 1-10,15\n  rota job cancel all --queue nightly",
		Args:    wantJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := filter.parse(); err != nil {
				return err
			}
			s, err := parseJobs(args, true, &filter)
			if err != nil {
				return err
			}
			filter.onlyOpen()
			for _, n := range slices.Concat(s.names, s.newest) {
				if wait && n.isTask {
					return usagef("--wait is for jobs, not for single tasks")
				}
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error { return a.cancelJobs(ctx, c, &s, wait, timeout) })
		},
	}
	f := cmd.Flags()
	filter.add(f, "with all: jobs")
	f.BoolVar(&wait, "wait", false, "wait until the jobs are over")
	f.DurationVar(&timeout, "wait-timeout", 0, "how long to wait; 0: no limit")
	return cmd
}

func (a *app) cancelJobs(ctx context.Context, c *client.Client, s *selection, wait bool, timeout time.Duration) error {
	add, end := a.jsonPrinter(s)
	var jobs []*client.Job
	err := a.eachJob(ctx, c, s, func(n named) error {
		job := c.Job(n.Job)
		info, err := a.cancelNamed(ctx, job, n)
		switch {
		case s.all && s.filter.open && errors.Is(err, task.ErrConflict):
			// It was not over when it was listed.
			return nil
		case err != nil:
			return err
		}
		jobs = append(jobs, job)
		switch {
		case a.format != formatTable:
			return add(jsonv1.Cancelled{ID: n.Job, Cancelled: info.Cancelled, Stopping: info.Stopping})
		case s.single():
			return a.print("%s cancelled, %d asked to stop\n", plural(int(info.Cancelled), "task"), info.Stopping)
		}
		return a.print("%v: %s cancelled, %d asked to stop\n", n, plural(int(info.Cancelled), "task"), info.Stopping)
	})
	if a.format != formatTable && !(err != nil && s.single()) {
		err = errors.Join(end(), err)
	}
	if !wait || err != nil {
		return err
	}
	wctx, stop := waiting(ctx, timeout)
	defer stop()
	for _, job := range jobs {
		screen := a.newScreen(wctx, job)
		_, err := job.Wait(wctx)
		if closed := screen.close(); closed != nil {
			return closed
		}
		if err := waitError(wctx, job.ID(), timeout, err); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) cancelNamed(ctx context.Context, job *client.Job, n named) (client.CancelInfo, error) {
	ctx, cancel := a.request(ctx)
	defer cancel()
	if n.isTask {
		return job.CancelTask(ctx, n.Index)
	}
	return job.Cancel(ctx)
}

func (a *app) jobRetryCmd() *cobra.Command {
	var opts client.RetryOptions
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "retry ID...", ValidArgsFunction: a.recentJobs(), Short: "Retry the tasks of finished jobs that did not succeed",
		Long:    "Makes a new job of those tasks of a finished job that did not succeed, and prints its id." + jobsHelp,
		Example: "  rota job retry 42\n  rota job retry last --wait",
		Args:    wantJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := parseJobs(args, false, nil)
			if err != nil {
				return err
			}
			if err := noEmptyKey(cmd.Flags()); err != nil {
				return err
			}
			if opts.Key != "" && !s.single() {
				return usagef("a --key is for the retry of one job")
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return a.retryJobs(ctx, c, &s, opts, wait, timeout)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&opts.All, "all", false, "also retry the tasks that succeeded")
	f.StringVar(&opts.Key, "key", "", "request key: a second retry with the same key makes no second job")
	f.BoolVar(&wait, "wait", false, "wait until the new job is over")
	f.DurationVar(&timeout, "wait-timeout", 0, "how long to wait; 0: no limit")
	return cmd
}

func (a *app) retryJobs(ctx context.Context, c *client.Client, s *selection, opts client.RetryOptions, wait bool, timeout time.Duration) error {
	add, end := a.jsonPrinter(s)
	var jobs []*client.Job
	err := a.eachJob(ctx, c, s, func(n named) error {
		job, err := c.Retry(ctx, n.Job, opts) // may be many requests, each with a timeout
		if err != nil {
			return err
		}
		jobs = append(jobs, job)
		return a.printID(job, add)
	})
	if a.format != formatTable && !(err != nil && s.single()) {
		err = errors.Join(end(), err)
	}
	if !wait || err != nil {
		return err
	}
	wctx, stop := waiting(ctx, timeout)
	defer stop()
	for _, job := range jobs {
		if _, err := a.awaitUnder(wctx, job, timeout); err != nil {
			return err
		}
	}
	return nil
}
