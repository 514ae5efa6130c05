package main

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

func (a *app) runCmd() *cobra.Command {
	var s specFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND ARG...",
		Short: "Run a command on some worker, print its output, exit with its code",
		Long: "Submits a job, waits for it and prints what it printed. The exit code is that of\n" +
			"the command, 4 where it was cancelled or expired, or 125 where there is none because\n" +
			"something else went wrong. A command that fails is not tried again unless --retries says so.\n\n" +
			"Of an output of more than 256 KiB the first and the last 128 KiB are kept, and it is said\n" +
			"how much is missing, unless --stdout says otherwise. Of standard error, it is the last 8 KiB.",
		Example: "  rota run -- hostname\n  rota run --payload @data.csv -- sort\n  rota run --array 1-5 --handler rota.square -o jsonl\n" +
			"  rota run --stdout file:/tmp/numbers.txt -- seq 1000000",
		RunE: func(cmd *cobra.Command, args []string) error {
			command, err := commandOf(cmd, args, s.handler)
			if err != nil {
				return err
			}
			r, err := s.request(command, a.in)
			if err != nil {
				return err
			}
			return runError(a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return a.runJob(ctx, c, r, &s)
			}))
		},
	}
	s.add(cmd.Flags(), false, 0)
	a.clientFlags(cmd)
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func (a *app) runJob(ctx context.Context, c *client.Client, r client.Request, s *specFlags) error {
	job, err := a.submit(ctx, c, r, s)
	if err != nil {
		return err
	}
	a.sayWaits(job)
	t, err := a.collect(ctx, collection{
		job: job, raw: true, lines: s.handler != "", asCompleted: s.asCompleted, serial: s.serial, timeout: s.waitTimeout,
	})
	switch {
	case errors.Is(err, syscall.EPIPE):
		a.unread(ctx, job, s.key)
		return err
	case err != nil:
		return err
	case t.exit != nil:
		return &codeError{code: *t.exit}
	case t.failed > 0 && len(r.Spec.Command) > 0:
		// The command has no exit code: it could not be started, or was not let end.
		return &codeError{code: exitRunFailed}
	}
	return t.err(job.ID())
}

// runError gives what went wrong with rota itself a code that commands do not use.
func runError(err error) error {
	var code *codeError
	if err == nil || errors.As(err, &code) || errors.As(err, new(*usageError)) || errors.Is(err, errWaitTimeout) || errors.Is(err, errInterrupted) ||
		errors.Is(err, syscall.EPIPE) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return err // by a signal; app.run says so
	}
	return &codeError{exitRunFailed, err}
}

func (a *app) submitCmd() *cobra.Command {
	var s specFlags
	var wait bool
	var file string
	cmd := &cobra.Command{
		Use:   "submit [flags] -- COMMAND ARG...",
		Short: "Submit a job and print its id",
		Long: "Submits a job and prints its id. Once it is printed, the job is on the disks of a\n" +
			"majority of the servers. A file holds the flags by their names, and the command as\n" +
			"a list; flags that are given as well go before it.",
		Example: "  rota submit --array 0-999%20 -- sh -c 'echo $ROTA_TASK_VALUE'\n  rota submit --wait --key nightly-2030-01-31 --cwd . -- ./backup.sh",
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := a.fromFile(cmd, file, args)
			if err != nil {
				return err
			}
			command, err := commandOf(cmd, args, s.handler)
			if err != nil {
				return err
			}
			r, err := s.request(command, a.in)
			if err != nil {
				return err
			}
			if s.waitTimeout != 0 {
				wait = true
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return a.submitJob(ctx, c, r, &s, wait)
			})
		},
	}
	s.add(cmd.Flags(), false, task.DefaultAttempts-1)
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the job is over")
	cmd.Flags().StringVarP(&file, "file", "f", "", "YAML file with the flags by their names, and the command as a list")
	a.clientFlags(cmd)
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// fromFile fills in flags and command from a file, as far as they are not given.
func (a *app) fromFile(cmd *cobra.Command, path string, args []string) ([]string, error) {
	if path == "" {
		return args, nil
	}
	const command = "command"
	file, err := readConfig(path, "rota submit", cmd.LocalFlags(), command)
	if err != nil {
		return nil, err
	}
	if err := settle(cmd.LocalFlags(), file, a.env); err != nil {
		return nil, err
	}
	if len(args) > 0 {
		return args, nil
	}
	for _, v := range file.values(command) {
		args = append(args, v.text)
	}
	return args, nil
}

func (a *app) submitJob(ctx context.Context, c *client.Client, r client.Request, s *specFlags, wait bool) error {
	job, err := a.submit(ctx, c, r, s)
	if err != nil {
		return err
	}
	if err := a.printID(job); err != nil {
		return err
	}
	a.sayWaits(job)
	if s.asCompleted {
		t, err := a.collect(ctx, collection{
			job: job, raw: true, lines: s.handler != "", asCompleted: true, serial: s.serial, timeout: s.waitTimeout,
		})
		if err != nil {
			return err
		}
		return t.err(job.ID())
	}
	if !wait {
		return nil
	}
	_, err = a.await(ctx, job, s.waitTimeout)
	return err
}

// printID prints the id of a new job.
func (a *app) printID(job *client.Job) error {
	if a.format != formatTable {
		return a.printOne(struct {
			ID      uint64 `json:"id"`
			Existed bool   `json:"existed"`
		}{job.ID(), job.Existed()})
	}
	if job.Existed() {
		a.say("rota: job %d was there already under this request key", job.ID())
	}
	return a.print("%d\n", job.ID())
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
