package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/bench/catchup"
)

const (
	// What flags may ask for: enough to be measured, and what a machine for tests may have.
	minStateGiB, maxStateGiB = 0.1, 200
	maxLinkMiB               = 10_000
	maxCatchupJobs           = 10_000
)

type catchupFlags struct {
	stateGiB, linkMiB float64
	jobs              int
	quiet, timeout    time.Duration
	format, rota, dir string
	rotaFlags         []string
	keep              bool
}

func catchupCmd() *cobra.Command {
	var f catchupFlags
	cmd := &cobra.Command{
		Use:   "catchup",
		Short: "Measure a leader that sends a large state to a server that has lost its own",
		Long: "Fills the state of three servers of which one is away, and submits jobs at an even pace\n" +
			"while nothing else happens, while state.db is copied over a slow link, while the third\n" +
			"server takes the state over through it, and after that. Prints how long Apply and\n" +
			"the submits took in each phase. It is an error where a server ends, the leader changes, or\n" +
			"the states differ at the end.\n\n" +
			"Needs root and /dev/net/tun, for hosts with a network of their own, and four times the\n" +
			"size of the state on the disk.",
		Example: "  sudo bench catchup --state-gib 9 --link-mib 50",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context()) },
	}
	fs := cmd.Flags()
	fs.Float64Var(&f.stateGiB, "state-gib", 9, "how large the leader's state.db is at the beginning, GiB")
	fs.Float64Var(&f.linkMiB, "link-mib", 50, "how fast the link to the third server is, MiB/s")
	fs.IntVar(&f.jobs, "jobs", 50, "jobs a second, of 16 tasks with 4 KiB each")
	fs.DurationVar(&f.quiet, "quiet", time.Minute, "how long each phase takes in which nothing else happens")
	fs.DurationVar(&f.timeout, "timeout", time.Hour, "bound of all of it")
	fs.StringVarP(&f.format, "output", "o", "table", "table or json")
	fs.StringVar(&f.rota, "rota", "", "the rota binary; empty: ../bin/rota and the like")
	fs.StringArrayVar(&f.rotaFlags, "rota-flag", nil, "a further flag of the servers; may be repeated")
	fs.StringVar(&f.dir, "dir", "", "folder for the data, on the disk that is to be measured; empty: a temporary one")
	fs.BoolVar(&f.keep, "keep", false, "keep the folder, with the logs and the data")
	return cmd
}

func (f *catchupFlags) check() error {
	if f.rota == "" {
		f.rota = findRota()
	}
	switch {
	case f.rota == "":
		return errors.New("no rota binary was found: run make build in the repository, or name one with --rota")
	case !slices.Contains([]string{"table", "json"}, f.format):
		return fmt.Errorf("unknown --output %q: use table or json", f.format)
	case f.stateGiB < minStateGiB || f.stateGiB > maxStateGiB:
		return fmt.Errorf("--state-gib %v is out of range: use %v to %v", f.stateGiB, minStateGiB, maxStateGiB)
	case f.linkMiB < 1 || f.linkMiB > maxLinkMiB:
		return fmt.Errorf("--link-mib %v is out of range: use 1 to %v", f.linkMiB, maxLinkMiB)
	case f.jobs < 1 || f.jobs > maxCatchupJobs:
		return fmt.Errorf("--jobs %d is out of range: use 1 to %d", f.jobs, maxCatchupJobs)
	case f.quiet < time.Second:
		return fmt.Errorf("--quiet %v is too short: use 1s or more", f.quiet)
	}
	return needNetwork("bench catchup", "")
}

func (f *catchupFlags) run(ctx context.Context) error {
	if err := f.check(); err != nil {
		return err
	}
	dir, remove, err := workFolder(f.dir, f.keep)
	if err != nil {
		return err
	}
	defer remove()
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	out, err := catchup.Run(ctx, catchup.Options{
		Binary: f.rota, Dir: dir, State: int64(f.stateGiB * (1 << 30)), Link: f.linkMiB * (1 << 20), Jobs: f.jobs, Quiet: f.quiet, ServerFlags: f.rotaFlags,
		Progress: func(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) },
	})
	// What was measured before something went wrong is told, too.
	if out != nil && len(out.Phases) > 0 {
		if f.format == "json" {
			err = errors.Join(err, out.JSON(os.Stdout))
		} else {
			err = errors.Join(err, out.Table(os.Stdout))
		}
	}
	return err
}
