package main

import (
	"context"
	"errors"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/client"
)

func (a *app) runCmd() *cobra.Command {
	var s specFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND ARG...",
		Short: "Run a command on some worker, print its output, exit with its code",
		Long: "Submits a job, waits for it and prints its output. The exit code is that of the command,\n" +
			"3 if a handler failed, 4 if the job was cancelled or expired, and 125 if something else\n" +
			"went wrong. Run does not retry a command that fails, unless you set --retries.\n\n" +
			"The output comes as the command prints it, unless you set --retries, --as-completed or -o.\n" +
			"Of several tasks, that is the first one in their order that has not ended.\n\n" +
			"If an output has more than 256 KiB, Rota keeps the first and the last 128 KiB, and says how\n" +
			"much is missing; --stdout changes that. Of standard error it keeps the last 64 KiB.",
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
		// What a failed attempt has printed must not stand before the output of the one that counts.
		live: len(r.Spec.Command) > 0 && r.Spec.MaxAttempts == 1 && !s.asCompleted && a.format == formatTable,
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
		// The command has no exit code: it could not be started, or it was stopped.
		return &codeError{code: exitRunFailed}
	}
	return t.err(job.ID())
}

// runError gives failures of rota itself an exit code that commands do not use.
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
