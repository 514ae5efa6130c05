package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// defaultJobs is how many jobs job list shows.
const defaultJobs = 50

func (a *app) jobCmd() *cobra.Command {
	cmd := group("job", "Look at jobs, wait for them, cancel and retry them",
		a.jobListCmd(), a.jobGetCmd(), a.jobWaitCmd(), a.jobResultsCmd(), a.jobCancelCmd(), a.jobRetryCmd())
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
	var opts client.ListOptions
	var states []string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List jobs, newest first", Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range states {
				s, ok := task.ParseJobState(name)
				if !ok {
					return usagef("unknown --state %q: use pending, running, succeeded, failed or cancelled", name)
				}
				opts.States = append(opts.States, s)
			}
			if limit < 0 {
				return usagef("--limit %d is negative", limit)
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return a.listJobs(ctx, c, opts, limit)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.Queue, "queue", "", "only jobs of this queue")
	f.StringVar(&opts.Name, "name", "", "only jobs with this name")
	f.StringSliceVar(&states, "state", nil, "only jobs in these states: pending, running, succeeded, failed, cancelled")
	f.IntVar(&limit, "limit", defaultJobs, "at most this many; 0: all")
	f.BoolVar(&opts.Stale, "stale", false, "let any server answer from what it knows, which may be old")
	return cmd
}

// listJobs lists jobs. Each page is a request with a time of its own: a list may be long.
func (a *app) listJobs(ctx context.Context, c *client.Client, opts client.ListOptions, limit int) error {
	if limit > 0 {
		opts.PageSize = uint32(min(limit, 1000))
	}
	var show func(j client.JobInfo) error
	var end func() error
	if a.format != formatTable {
		list := a.newJSONList(a.out)
		show, end = func(j client.JobInfo) error { return list.add(shapeJob(j)) }, list.end
	} else {
		t := a.newTable("ID", "NAME", "QUEUE", "STATE", "TASKS", "DONE", "FAILED", "SUBMITTED", "TOOK")
		show = func(j client.JobInfo) error {
			t.row(fmt.Sprint(j.ID), j.Spec.Name, j.Spec.Queue, j.State.String(), count(j.Total), count(j.Counts.Final()),
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

// took is how long a job ran, so far.
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
		Use: "get ID|ID.TASK", Short: "Show a job, or one task of it", Args: wantArgs("a job or task id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, isTask, err := taskID(args[0])
			if err != nil {
				return err
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				ctx, cancel := a.request(ctx)
				defer cancel()
				if isTask {
					t, err := c.Job(id.Job).Task(ctx, id.Index)
					if err != nil {
						return err
					}
					return a.printTask(id.Job, t)
				}
				info, err := c.Job(id.Job).Info(ctx)
				if err != nil {
					return err
				}
				return a.printJob(info)
			})
		},
	}
}

func (a *app) printTask(job uint64, t client.TaskInfo) error {
	if a.format != formatTable {
		return a.printOne(shapeTask(job, t))
	}
	fields := [][2]string{
		{"Task", task.ID{Job: job, Index: t.Index}.String()}, {"State", taskState(t)}, {"Reason", t.Reason.String()},
		{"Attempt", count(t.Attempt)}, {"Worker", t.Worker},
	}
	if t.Token != 0 {
		fields = append(fields, [2]string{"Token", fmt.Sprint(t.Token)})
	}
	if !t.NotBefore.IsZero() {
		fields = append(fields, [2]string{"Not before", t.NotBefore.Format(time.RFC3339)})
	}
	return a.fields(fields...)
}

func (a *app) printJob(j client.JobInfo) error {
	if a.format != formatTable {
		return a.printOne(shapeJob(j))
	}
	work := "handler " + j.Spec.Handler
	if j.Spec.Handler == "" {
		work = oneLine(strings.Join(j.Spec.Command, " "), 100)
	}
	fields := [][2]string{
		{"Job", fmt.Sprint(j.ID)}, {"Name", j.Spec.Name}, {"Queue", j.Spec.Queue}, {"Work", work},
		{"State", j.State.String()}, {"Reason", j.Reason.String()}, {"Tasks", countsText(j)},
		{"Submitted", ago(j.SubmittedAt)}, {"Started", ago(j.StartedAt)}, {"Finished", ago(j.FinishedAt)}, {"Took", took(j)},
	}
	if j.RetryOf != 0 {
		fields = append(fields, [2]string{"Retry of", fmt.Sprint(j.RetryOf)})
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
		Use: "wait ID", Short: "Wait until a job is over",
		Long: "Waits until every task of a job has ended, and prints the job. The exit code is 0\n" +
			"where all succeeded, 3 where some failed, 4 where it was cancelled, 124 where it\n" +
			"took longer than --wait-timeout.",
		Args: wantArgs("a job id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := jobID(args[0])
			if err != nil {
				return err
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				job := c.Job(id)
				if err := a.exists(ctx, job); err != nil {
					return err
				}
				info, err := a.await(ctx, job, timeout)
				if info.State.Final() {
					if err := a.printJob(info); err != nil {
						return err
					}
				}
				return err
			})
		},
	}
	cmd.Flags().DurationVar(&timeout, "wait-timeout", 0, "longest wait; 0: no limit")
	return cmd
}

// exists asks for a job once, so that one that is not there, or servers that are
// not, are an error and no endless wait.
func (a *app) exists(ctx context.Context, job *client.Job) error {
	ctx, cancel := a.request(ctx)
	defer cancel()
	_, err := job.Info(ctx)
	return err
}

func (a *app) jobResultsCmd() *cobra.Command {
	var asCompleted, raw bool
	var cursor string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "results ID", Short: "Print the results of a job, and wait for those to come",
		Long: "Prints how each task ended: in index order, or as tasks complete. It ends when the\n" +
			"job is over; the exit code does not say how that went. With --as-completed, JSON\n" +
			"lines have a cursor, and --cursor goes on behind it.",
		Args: wantArgs("a job id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := jobID(args[0])
			if err != nil {
				return err
			}
			from, err := base64.RawURLEncoding.DecodeString(cursor)
			if err != nil {
				return usagef("malformed --cursor: it must come from the cursor of a result")
			}
			if cursor != "" && !asCompleted {
				return usagef("--cursor is for results --as-completed")
			}
			if raw && a.format != formatTable {
				return usagef("--raw and -o %s contradict each other: give one of them", a.format)
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				job := c.Job(id)
				if err := a.exists(ctx, job); err != nil {
					return err
				}
				_, err := a.collect(ctx, collection{
					job: job, raw: raw, asCompleted: asCompleted, cursor: from, timeout: timeout, quiet: !raw,
				})
				return err
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asCompleted, "as-completed", false, "as tasks complete, not in index order")
	f.BoolVar(&raw, "raw", false, "print the outputs alone, byte for byte")
	f.StringVar(&cursor, "cursor", "", "go on behind the result with this cursor")
	f.DurationVar(&timeout, "wait-timeout", 0, "longest wait; 0: no limit")
	return cmd
}

func (a *app) jobCancelCmd() *cobra.Command {
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "cancel ID|ID.TASK", Short: "Cancel a job, or one task of it",
		Long: "Asks for the end of a job. Tasks that wait end at once, tasks that run are stopped\n" +
			"by their workers; --wait waits for that.",
		Args: wantArgs("a job or task id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, isTask, err := taskID(args[0])
			if err != nil {
				return err
			}
			if wait && isTask {
				return usagef("--wait is for jobs, not for single tasks")
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return a.cancelJob(ctx, c.Job(id.Job), id, isTask, wait, timeout)
			})
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the job is over")
	cmd.Flags().DurationVar(&timeout, "wait-timeout", 0, "longest wait; 0: no limit")
	return cmd
}

func (a *app) cancelJob(ctx context.Context, job *client.Job, id task.ID, isTask, wait bool, timeout time.Duration) error {
	request, cancel := a.request(ctx)
	defer cancel()
	var info client.CancelInfo
	var err error
	if isTask {
		info, err = job.CancelTask(request, id.Index)
	} else {
		info, err = job.Cancel(request)
	}
	if err != nil {
		return err
	}
	if a.format != formatTable {
		err = a.printOne(struct {
			ID        uint64 `json:"id"`
			Cancelled uint32 `json:"cancelled"`
			Stopping  uint32 `json:"stopping"`
		}{id.Job, info.Cancelled, info.Stopping})
	} else {
		err = a.print("%s cancelled, %d that workers hold asked to stop\n", plural(int(info.Cancelled), "task"), info.Stopping)
	}
	if err != nil || !wait {
		return err
	}
	wctx, stop := waiting(ctx, timeout)
	defer stop()
	s := a.newScreen(wctx, job)
	_, err = job.Wait(wctx)
	if closed := s.close(); closed != nil {
		return closed
	}
	return waitError(wctx, id.Job, timeout, err)
}

func (a *app) jobRetryCmd() *cobra.Command {
	var opts client.RetryOptions
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "retry ID", Short: "Make a new job of the tasks of a finished one that did not succeed", Args: wantArgs("a job id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := jobID(args[0])
			if err != nil {
				return err
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				request, cancel := a.request(ctx)
				defer cancel()
				job, err := c.Retry(request, id, opts)
				if err != nil {
					return err
				}
				if err := a.printID(job); err != nil || !wait {
					return err
				}
				_, err = a.await(ctx, job, timeout)
				return err
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&opts.All, "all", false, "also the tasks that succeeded")
	f.StringVar(&opts.Key, "key", "", "request key: the same key again is the same retry, not a second one")
	f.BoolVar(&wait, "wait", false, "wait until the new job is over")
	f.DurationVar(&timeout, "wait-timeout", 0, "longest wait; 0: no limit")
	return cmd
}
