package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/bench/growth"
	"github.com/rota-scheduler/rota/bench/report"
)

const (
	growthTasks, quickTasks   = 300_000, 50_000
	growthRounds, quickRounds = 3, 1
)

type growthFlags struct {
	studies                    []string
	sizes                      []int
	tasks, rounds              int
	quick, distinct, keepGoing bool
	format, rota, dir, chart   string
	rotaFlags                  []string
	timeout                    time.Duration
}

// maxGrowthTasks bounds what one measurement of throughput submits, in as many jobs as it takes.
const maxGrowthTasks = 10_000_000

func growthCmd() *cobra.Command {
	var f growthFlags
	cmd := &cobra.Command{
		Use:   "growth",
		Short: "Measure how Rota behaves as what it keeps grows",
		Long: "Measures the throughput of an array of no-op tasks, and memory, while something grows.\n\n" +
			"  backlog   pending tasks of the same kind behind the job that is measured\n" +
			"  history   finished tasks; also the time of a restart, and the size of state.db\n" +
			"  job       tasks of one array job; also its results in order, a cancel and a retry\n" +
			"  workers   sessions, simulated in one process; also the memory of each\n" +
			"  servers   1, 3 and 5 of them\n" +
			"  memory    bytes of a pending task, of an array and with a payload of its own, and\n" +
			"            of a finished one\n" +
			"  snapshot  the same load with snapshots all the time and with none",
		Example: "  bench growth --quick\n  bench growth --study backlog --sizes 10000,1000000 -o svg > backlog.svg",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context()) },
	}
	fs := cmd.Flags()
	fs.StringSliceVar(&f.studies, "study", []string{"all"}, "studies to make, or all")
	fs.IntSliceVar(&f.sizes, "sizes", nil, "sizes of the one study that is made; empty: its own")
	fs.IntVar(&f.tasks, "tasks", 0, "tasks of each measurement of throughput; 0: 300000, quick 50000")
	fs.IntVar(&f.rounds, "rounds", 0, "how often each size is measured; 0: 3, quick 1")
	fs.BoolVar(&f.quick, "quick", false, "small sizes: all studies in some minutes")
	fs.BoolVar(&f.distinct, "distinct", false, "backlog and history have payloads of their own")
	fs.StringVarP(&f.format, "output", "o", "table", "table, json or svg")
	fs.StringVar(&f.chart, "chart", "", "also write the chart to this file, as svg, whatever --output is")
	fs.StringVar(&f.rota, "rota", "", "the rota binary; empty: ../bin/rota and the like")
	fs.StringArrayVar(&f.rotaFlags, "rota-flag", nil, "a further flag of the servers; may be repeated")
	fs.StringVar(&f.dir, "dir", "", "folder for the data; empty: a temporary one")
	fs.DurationVar(&f.timeout, "timeout", 30*time.Minute, "bound of one measurement, its filling included")
	fs.BoolVar(&f.keepGoing, "keep-going", false, "when a study fails, make the others")
	return cmd
}

func (f *growthFlags) run(ctx context.Context) error {
	studies, err := f.check()
	if err != nil {
		return err
	}
	dir, remove, err := workFolder(f.dir, false)
	if err != nil {
		return err
	}
	defer remove()
	o := growth.Options{
		Binary: f.rota, Dir: dir, Tasks: f.tasks, Rounds: f.rounds, Distinct: f.distinct, ServerFlags: f.rotaFlags, Timeout: f.timeout,
		Progress: func(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) },
	}
	var results []*report.Growth
	var failures []error
	for _, s := range studies {
		g, failure := growth.Run(ctx, s, f.sizesOf(s), o)
		if g != nil {
			results = append(results, g)
			if err := f.print(g); err != nil {
				return errors.Join(append(failures, failure, err)...)
			}
		}
		if failure == nil {
			continue
		}
		failures = append(failures, failure)
		if !f.keepGoing || ctx.Err() != nil {
			break
		}
		fmt.Fprintln(os.Stderr, "bench:", failure)
	}
	if f.format == "svg" && len(results) > 0 {
		failures = append(failures, report.GrowthSVG(os.Stdout, results...))
	}
	if f.chart != "" && len(results) > 0 {
		failures = append(failures, writeChart(f.chart, results))
	}
	return errors.Join(failures...)
}

// print prints what was measured of a study as soon as it is there.
func (f *growthFlags) print(g *report.Growth) error {
	switch f.format {
	case "json":
		return g.JSON(os.Stdout)
	case "table":
		return g.Table(os.Stdout)
	}
	return nil // a chart is of all studies
}

// writeChart writes the studies as one chart into a file.
func writeChart(path string, results []*report.Growth) error {
	var chart bytes.Buffer
	if err := report.GrowthSVG(&chart, results...); err != nil {
		return err
	}
	if err := os.WriteFile(path, chart.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the chart: %w", err)
	}
	return nil
}

func (f *growthFlags) check() ([]growth.Study, error) {
	var studies []growth.Study
	var names []string
	for _, s := range growth.Studies() {
		names = append(names, s.Name)
		if slices.Contains(f.studies, s.Name) || slices.Contains(f.studies, "all") {
			studies = append(studies, s)
		}
	}
	for _, name := range f.studies {
		if name != "all" && !slices.Contains(names, name) {
			return nil, fmt.Errorf("unknown --study %q: use %s or all", name, strings.Join(names, ", "))
		}
	}
	if f.tasks == 0 {
		f.tasks = growthTasks
		if f.quick {
			f.tasks = quickTasks
		}
	}
	if f.rounds == 0 {
		f.rounds = growthRounds
		if f.quick {
			f.rounds = quickRounds
		}
	}
	if f.rota == "" {
		f.rota = findRota()
	}
	switch {
	case f.rota == "":
		return nil, errors.New("no rota binary was found: run make build in the repository, or name one with --rota")
	case !slices.Contains([]string{"table", "json", "svg"}, f.format):
		return nil, fmt.Errorf("unknown --output %q: use table, json or svg", f.format)
	case len(f.sizes) > 0 && len(studies) != 1:
		return nil, errors.New("--sizes are those of one study: name it with --study")
	case f.tasks < 10 || f.tasks > maxGrowthTasks:
		return nil, fmt.Errorf("--tasks %d is out of range: use 10 to %d", f.tasks, maxGrowthTasks)
	case f.rounds < 1 || f.rounds > 100:
		return nil, fmt.Errorf("--rounds %d is out of range: use 1 to 100", f.rounds)
	}
	for _, size := range f.sizes {
		if size < 0 || size > studies[0].Largest {
			return nil, fmt.Errorf("--sizes %d is out of range: use 0 to %d", size, studies[0].Largest)
		}
	}
	return studies, nil
}

func (f *growthFlags) sizesOf(s growth.Study) []int {
	switch {
	case len(f.sizes) > 0:
		return f.sizes
	case f.quick:
		return s.Quick
	default:
		return s.Sizes
	}
}
