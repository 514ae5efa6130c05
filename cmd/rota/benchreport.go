package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/api/jsonv1"
)

// spreadOf sorts the values of several runs.
func spreadOf(values []float64) jsonv1.Spread {
	slices.Sort(values)
	n := len(values)
	return jsonv1.Spread{Median: (values[(n-1)/2] + values[n/2]) / 2, Min: values[0], Max: values[n-1]}
}

// spreadCells are two cells of a table: the middle, and the ends.
func spreadCells(s jsonv1.Spread, format string) (median, ends string) {
	return fmt.Sprintf(format, s.Median), fmt.Sprintf(format+" to "+format, s.Min, s.Max)
}

func summarize(name string, tasks int, runs []benchRun) jsonv1.BenchWorkload {
	each := func(f func(r benchRun) float64) jsonv1.Spread {
		var values []float64
		for _, r := range runs {
			values = append(values, f(r))
		}
		return spreadOf(values)
	}
	out := jsonv1.BenchWorkload{
		Workload: name, Tasks: tasks, Runs: len(runs),
		TasksPerSecond:  each(func(r benchRun) float64 { return float64(tasks) / r.total }),
		SubmitPerSecond: each(func(r benchRun) float64 { return float64(tasks) / r.submit }),
	}
	if len(runs[0].latencies) > 0 {
		p50 := each(func(r benchRun) float64 { return percentile(r.latencies, 50) })
		p99 := each(func(r benchRun) float64 { return percentile(r.latencies, 99) })
		out.P50MS, out.P99MS = &p50, &p99
	}
	return out
}

// percentile returns the latency that p percent of all latencies do not exceed, in milliseconds.
func percentile(latencies []time.Duration, p int) float64 {
	sorted := slices.Sorted(slices.Values(latencies))
	at := (len(sorted)*p + 99) / 100
	return float64(sorted[max(0, at-1)]) / float64(time.Millisecond)
}

func (b *bench) report(r *jsonv1.Bench) error {
	if b.format == formatJSON {
		return b.printOne(r)
	}
	t := b.newTable("WORKLOAD", "TASKS", "RUNS", "MEASURE", "MEDIAN", "RANGE")
	for _, w := range r.Workloads {
		row := func(measure string, s jsonv1.Spread, format string) {
			median, ends := spreadCells(s, format)
			t.row(w.Workload, fmt.Sprint(w.Tasks), fmt.Sprint(w.Runs), measure, median, ends)
		}
		if w.P50MS != nil {
			row("latency p50, ms", *w.P50MS, "%.2f")
			row("latency p99, ms", *w.P99MS, "%.2f")
			continue
		}
		row("end to end, tasks/s", w.TasksPerSecond, "%.0f")
		if w.Workload == "distinct" {
			row("submit, tasks/s", w.SubmitPerSecond, "%.0f")
		}
	}
	return t.end()
}
