package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/bench/report"
)

type turnsFlags struct {
	other     string
	workloads []string
	pairs     int
	// own are flags of run for this checkout alone, args those of both.
	own, args []string
}

func turnsCmd() *cobra.Command {
	var f turnsFlags
	cmd := &cobra.Command{
		Use:   "turns --with DIR [flags] [-- FLAGS OF RUN]",
		Short: "Measure this build and another one in turns",
		Long: "Measures Rota of this checkout and of another one in turns, each by its own bench and its\n" +
			"own binary, and prints the ratios of neighbouring runs. Which of the two begins changes\n" +
			"from pair to pair. Build both before, each in its checkout:\n\n" +
			"  git worktree add --detach ../before HEAD~1\n" +
			"  make build && cd bench && go build .",
		Example: "  bench turns --with ../../before --workload array,distinct,single,clients --pairs 5\n  bench turns --with ../../before --workload clients -- --log-store boltdb\n" +
			"  bench turns --with .. --this-flag=--tls --workload array,distinct,single",
		RunE: func(cmd *cobra.Command, args []string) error {
			f.args = args
			return f.run(cmd.Context())
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.other, "with", "", "the other checkout")
	fs.StringSliceVar(&f.workloads, "workload", []string{"array", "distinct", "single", "clients"}, "workloads to measure")
	fs.StringArrayVar(&f.own, "this-flag", nil, "a flag of run for this checkout alone, such as --tls; may be repeated. The other one may be this one again")
	fs.IntVar(&f.pairs, "pairs", defaultRuns, "pairs of runs of each workload")
	cobra.CheckErr(cmd.MarkFlagRequired("with"))
	return cmd
}

func (f *turnsFlags) run(ctx context.Context) error {
	if f.pairs < 1 || f.pairs > 100 {
		return fmt.Errorf("--pairs %d is out of range: use 1 to 100", f.pairs)
	}
	this, err := os.Executable()
	if err != nil {
		return err
	}
	if f.other, err = filepath.Abs(f.other); err != nil {
		return err
	}
	other := filepath.Join(f.other, "bench", "bench")
	if _, err := os.Stat(other); err != nil {
		return fmt.Errorf("the other checkout has no bench: run go build . in %s: %w", filepath.Dir(other), err)
	}
	var failures []error
	for _, w := range f.workloads {
		ours, theirs, err := f.pairsOf(ctx, this, other, w)
		if err != nil {
			failures = append(failures, err)
		}
		if len(ours) > 0 {
			if err := report.Turns("this", "other", ours, theirs).Table(os.Stdout); err != nil {
				return errors.Join(append(failures, err)...)
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failures...)
}

// pairsOf measures a workload. Beside an error there are the pairs that were whole before.
func (f *turnsFlags) pairsOf(ctx context.Context, this, other, w string) (ours, theirs []*report.Report, err error) {
	own := func() (*report.Report, error) { return f.measure(ctx, this, w, f.own) }
	others := func() (*report.Report, error) { return f.measure(ctx, other, w, nil) }
	for pair := range f.pairs {
		begin, end := own, others
		if pair%2 == 1 {
			begin, end = end, begin
		}
		first, err := begin()
		if err != nil {
			return ours, theirs, err
		}
		second, err := end()
		if err != nil {
			return ours, theirs, err
		}
		if pair%2 == 1 {
			first, second = second, first
		}
		ours, theirs = append(ours, first), append(theirs, second)
		fmt.Fprintf(os.Stderr, "bench: %s %d/%d: %.4g tasks/s here, %.4g there\n", w, pair+1, f.pairs,
			first.Systems[0].TasksPerS, second.Systems[0].TasksPerS)
	}
	return ours, theirs, nil
}

// measure lets the bench of one checkout measure that checkout's binary once.
func (f *turnsFlags) measure(ctx context.Context, bench, workload string, own []string) (*report.Report, error) {
	rota := filepath.Join(filepath.Dir(filepath.Dir(bench)), "bin", "rota")
	args := append([]string{"run", "--workload", workload, "--peers", "none", "--runs", "1", "-o", "json", "--rota", rota}, slices.Concat(own, f.args)...)
	cmd := exec.CommandContext(ctx, bench, args...)
	// It stops what it has started when it is asked to.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s run --workload %s: %w\n%s", bench, workload, err, said.Bytes())
	}
	return report.Parse(out.Bytes())
}
