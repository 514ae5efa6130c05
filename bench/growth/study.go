package growth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rota-scheduler/rota/bench/report"
	"github.com/rota-scheduler/rota/bench/stats"
	"github.com/rota-scheduler/rota/task"
)

// Options is how studies are made.
type Options struct {
	// Binary is the rota to run, Dir the folder for its data.
	Binary, Dir string
	// Tasks is how many tasks a measurement of throughput has, Rounds how often each
	// size is measured.
	Tasks, Rounds int
	// Distinct: the backlog has payloads of its own.
	Distinct bool
	// ServerFlags are further flags of the servers.
	ServerFlags []string
	// Timeout bounds one measurement.
	Timeout time.Duration
	// Progress is called before each step, with its name.
	Progress func(format string, args ...any)
}

// Study measures one thing that grows.
type Study struct {
	Name string
	// Unit is what the sizes count.
	Unit string
	// Sizes are those of a full study, Quick those of one that takes a minute.
	Sizes, Quick []int
	// Largest bounds what may be asked for.
	Largest int
	// Flat says that the throughput should not depend on the size.
	Flat bool
	// Marks are what values should not exceed.
	Marks []report.Mark
	// measure returns the values of one size, by their names.
	measure func(ctx context.Context, l *lab, size int) (map[string]float64, error)
}

// Studies is all of them.
func Studies() []Study {
	return []Study{
		{
			Name: "backlog", Unit: "pending tasks", Sizes: []int{10_000, 100_000, 1_000_000, 10_000_000}, Quick: []int{10_000, 100_000, 1_000_000},
			Largest: 10_000_000, Flat: true, measure: backlog,
		},
		{
			Name: "job", Unit: "tasks of one job", Sizes: []int{1_000_000, 3_000_000, 10_000_000}, Quick: []int{300_000, 1_000_000},
			Largest: task.MaxTasks, Flat: true, measure: largeJob,
		},
		{
			Name: "history", Unit: "finished tasks", Sizes: []int{0, 100_000, 1_000_000, 5_000_000}, Quick: []int{0, 50_000, 200_000},
			Largest: 50_000_000, Flat: true, measure: history,
		},
		{
			Name: "workers", Unit: "workers", Sizes: []int{2, 20, 200, 2000}, Quick: []int{2, 20, 200},
			Largest: 10_000, Flat: true, measure: manyWorkers,
		},
		{Name: "servers", Unit: "servers", Sizes: []int{1, 3, 5}, Quick: []int{1, 3, 5}, Largest: 9, measure: servers},
		{
			Name: "memory", Unit: "tasks", Sizes: []int{1_000_000}, Quick: []int{200_000}, Largest: 10_000_000, measure: memory,
			Marks: []report.Mark{
				{Of: bytesPerArrayTask, AtMost: 32}, {Of: bytesPerDistinctTask, AtMost: 200}, {Of: distinctRSS, AtMost: 400, UpTo: 1_000_000},
			},
		},
		{
			Name: "snapshot", Unit: "finished tasks", Sizes: []int{0, 1_000_000, 5_000_000}, Quick: []int{0, 200_000},
			Largest: 50_000_000, measure: snapshot,
		},
	}
}

// Throughput is the name of the value that charts show.
const Throughput = report.GrowthRate

// Run makes a study and returns the medians. With an error it returns those of what was measured before, or none if
// nothing was.
func Run(ctx context.Context, s Study, sizes []int, o Options) (*report.Growth, error) {
	values := make([]map[string][]float64, len(sizes))
	err := measureAll(ctx, s, sizes, o, values)
	g := &report.Growth{Study: s.Name, Unit: s.Unit, Tasks: o.Tasks, Flat: s.Flat, Marks: s.Marks}
	for i, size := range sizes {
		if values[i] == nil {
			continue
		}
		p := report.Point{Size: size, Values: map[string]stats.Spread{}}
		for name, list := range values[i] {
			p.Values[name] = stats.Of(list)
		}
		g.Points = append(g.Points, p)
	}
	if len(g.Points) == 0 {
		return nil, err
	}
	return g, err
}

// measureAll adds what is measured in each round to the values of each size.
func measureAll(ctx context.Context, s Study, sizes []int, o Options, values []map[string][]float64) error {
	for round := range o.Rounds {
		for i, size := range sizes {
			o.Progress("%s, round %d of %d: %d %s", s.Name, round+1, o.Rounds, size, s.Unit)
			got, err := once(ctx, s, size, o)
			if err != nil {
				return fmt.Errorf("%s of %d %s: %w", s.Name, size, s.Unit, err)
			}
			if values[i] == nil {
				values[i] = map[string][]float64{}
			}
			for name, v := range got {
				values[i][name] = append(values[i][name], v)
			}
		}
	}
	return nil
}

func once(ctx context.Context, s Study, size int, o Options) (values map[string]float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	dir, err := os.MkdirTemp(o.Dir, s.Name+"-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	l := &lab{options: o, dir: dir}
	defer func() {
		l.close()
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	return s.measure(ctx, l, size)
}
