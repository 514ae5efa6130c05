package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
)

const (
	demoServers, demoWorkers, demoSlots = 3, 3, 8
	// demoTimeout ends a tour in which something hangs.
	demoTimeout = 3 * time.Minute
)

func (a *app) demoCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "The tour: three servers, three workers, the leader killed in the middle of a job",
		Long: "Starts three servers and three workers as processes of their own, runs jobs on them,\n" +
			"kills the leader while tasks run, and checks that no result is lost, duplicated or wrong.\n" +
			"It takes less than a minute and leaves nothing behind.",
		Example: "  rota demo",
		Args:    wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), demoTimeout, fmt.Errorf("the tour is not over after %v", demoTimeout))
			defer cancel()
			return a.demo(ctx, dir)
		},
	}
	cmd.Flags().StringVar(&dir, "files", "", "hash the files of this folder; empty: those of the installed Go")
	return cmd
}

// tour is one run of the demo.
type tour struct {
	*app
	cluster *localcluster.Cluster
	client  *client.Client
	// step counts the headings.
	step int
	// colour: the terminal has colours, and the user has not switched them off.
	colour bool
}

func (a *app) demo(ctx context.Context, dir string) (err error) {
	files, err := a.demoFiles(ctx, dir)
	if err != nil {
		return err
	}
	t := &tour{app: a, colour: a.outTTY && a.env("NO_COLOR") == "" && a.env("TERM") != "dumb"}
	start := time.Now()
	t.heading("%d servers and %d workers start on this machine", demoServers, demoWorkers)
	c, cleanup, err := a.startLocal(ctx, localcluster.Config{Servers: demoServers, Workers: demoWorkers, Slots: demoSlots})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanup()) }()
	t.cluster = c
	if t.client, err = c.Client(); err != nil {
		return err
	}
	defer t.client.Close()
	for _, f := range []func(context.Context) error{
		t.introduce,
		func(ctx context.Context) error { return t.squares(ctx, 5) },
		func(ctx context.Context) error { return t.squares(ctx, 1000) },
		func(ctx context.Context) error { return t.hashFiles(ctx, files) },
	} {
		if err := f(ctx); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
	}
	t.printf("\nThe tour took %s. Go on with: rota dev --nodes 3 --workers 3\n", short(time.Since(start)))
	return nil
}

// introduce shows the cluster.
func (t *tour) introduce(ctx context.Context) error {
	info, err := t.cluster.WaitLeader(ctx)
	if err != nil {
		return err
	}
	for _, s := range t.cluster.Servers {
		role := "follows"
		if s.Name == info.Leader {
			role = "leads"
		}
		t.line("server "+s.Name, fmt.Sprintf("pid %-7d %s  %s", s.Pid(), s.Addr, role))
	}
	for _, w := range t.cluster.Workers {
		t.line("worker "+w.Name, fmt.Sprintf("pid %-7d %d slots", w.Pid(), demoSlots))
	}
	return nil
}

// squares runs a job with the squares of 1 to n twice: it collects the results in order,
// and then as the tasks complete.
func (t *tour) squares(ctx context.Context, n int) error {
	t.heading("The squares of 1 to %d", n)
	for _, asCompleted := range []bool{false, true} {
		start := time.Now()
		job, err := t.client.Submit(ctx, client.Request{
			Spec:  task.Spec{Name: "squares", Handler: "rota.square", Values: []task.ValueRun{{First: 1, Step: 1, Count: uint32(n)}}},
			Count: n,
		})
		if err != nil {
			return err
		}
		name, results := "in order", job.Results(ctx)
		if asCompleted {
			name, results = "as completed", job.AsCompleted(ctx)
		}
		var outputs []string
		seen := make([]bool, n)
		sum := 0
		for r, err := range results {
			if err != nil {
				return err
			}
			square := (int(r.Index) + 1) * (int(r.Index) + 1)
			switch {
			case r.State != task.Succeeded:
				return fmt.Errorf("task %d.%d %s: %s", job.ID(), r.Index, r.State, r.Error)
			case string(r.Output) != fmt.Sprint(square):
				return fmt.Errorf("the square of %d is not %s", r.Index+1, r.Output)
			case seen[r.Index]:
				return fmt.Errorf("task %d.%d has two results", job.ID(), r.Index)
			case !asCompleted && int(r.Index) != len(outputs):
				return fmt.Errorf("result %d arrived in the place of result %d", r.Index, len(outputs))
			}
			seen[r.Index] = true
			outputs = append(outputs, string(r.Output))
			sum += square
		}
		if len(outputs) != n {
			return fmt.Errorf("%d of %d results arrived", len(outputs), n)
		}
		if n > 10 {
			outputs = append(append(outputs[:5:5], "..."), outputs[n-2:]...)
		}
		t.line(name, fmt.Sprintf("%s   sum %d, %s", strings.Join(outputs, " "), sum, short(time.Since(start))))
	}
	return nil
}

func (t *tour) printf(format string, args ...any) { fmt.Fprintf(t.out, format, args...) }

// heading begins a step of the tour.
func (t *tour) heading(format string, args ...any) {
	t.step++
	text := fmt.Sprintf("%d  %s", t.step, fmt.Sprintf(format, args...))
	if t.step > 1 {
		t.printf("\n")
	}
	t.printf("%s\n", t.paint("1", text))
}

// line prints a name and a text about it.
func (t *tour) line(name, text string) { t.printf("   %-16s  %s\n", name, text) }

// news prints a line that people should notice, in a colour.
func (t *tour) news(colour, name, text string) {
	t.printf("   %s\n", t.paint(colour, fmt.Sprintf("%-16s  %s", name, text)))
}

// The colours of news.
const (
	bad  = "31"
	good = "32"
)

func (t *tour) paint(code, text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
