package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

func (a *app) submitCmd() *cobra.Command {
	var s specFlags
	var wait bool
	var file string
	cmd := &cobra.Command{
		Use:   "submit [flags] -- COMMAND ARG...",
		Short: "Submit a job and print its id",
		Long: "Submits a job and prints its id. Once the id is printed, the job is on the disks of a\n" +
			"majority of the servers. --file names a YAML file that has flags by their names, and the\n" +
			"command as a list. Flags and a command on the command line go before those of the file.",
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

// fromFile fills in flags and command from a file, unless they are on the command line.
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
	if err := a.printID(job, a.printOne); err != nil {
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

// printID prints the id of a new job; asJSON prints it for programs.
func (a *app) printID(job *client.Job, asJSON func(v any) error) error {
	if a.format != formatTable {
		return asJSON(jsonv1.Submitted{ID: job.ID(), Existed: job.Existed()})
	}
	if job.Existed() {
		a.say("rota: job %d already has this request key", job.ID())
	}
	return a.print("%d\n", job.ID())
}
