package main

import (
	"fmt"
	"slices"
	"time"
)

// benchReport is what bench prints as JSON.
type benchReport struct {
	Version   string       `json:"version"`
	Servers   int          `json:"servers"`
	Workloads []benchShape `json:"workloads"`
}

type benchShape struct {
	Workload string `json:"workload"`
	Tasks    int    `json:"tasks"`
	Runs     int    `json:"runs"`
	// TasksPerSecond is from the submit to the last result, SubmitPerSecond that of
	// the submit alone.
	TasksPerSecond  spread `json:"tasks_per_second"`
	SubmitPerSecond spread `json:"submit_per_second"`
	// P50MS and P99MS are from the submit of a task to its result; of single only.
	P50MS *spread `json:"p50_ms,omitempty"`
	P99MS *spread `json:"p99_ms,omitempty"`
}

// spread is the middle and the ends of what several runs measured.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) spread {
	slices.Sort(values)
	n := len(values)
	return spread{Median: (values[(n-1)/2] + values[n/2]) / 2, Min: values[0], Max: values[n-1]}
}

// cells are two of a table: the middle, and the ends.
func (s spread) cells(format string) (median, ends string) {
	return fmt.Sprintf(format, s.Median), fmt.Sprintf(format+" to "+format, s.Min, s.Max)
}

func summarize(name string, tasks int, runs []benchRun) benchShape {
	each := func(f func(r benchRun) float64) spread {
		var values []float64
		for _, r := range runs {
			values = append(values, f(r))
		}
		return spreadOf(values)
	}
	shape := benchShape{
		Workload: name, Tasks: tasks, Runs: len(runs),
		TasksPerSecond:  each(func(r benchRun) float64 { return float64(tasks) / r.total }),
		SubmitPerSecond: each(func(r benchRun) float64 { return float64(tasks) / r.submit }),
	}
	if len(runs[0].latencies) > 0 {
		p50 := each(func(r benchRun) float64 { return percentile(r.latencies, 50) })
		p99 := each(func(r benchRun) float64 { return percentile(r.latencies, 99) })
		shape.P50MS, shape.P99MS = &p50, &p99
	}
	return shape
}

// percentile is a latency that p of 100 do not exceed, ms.
func percentile(latencies []time.Duration, p int) float64 {
	sorted := slices.Sorted(slices.Values(latencies))
	at := (len(sorted)*p + 99) / 100
	return float64(sorted[max(0, at-1)]) / float64(time.Millisecond)
}

func (b *bench) report(r *benchReport) error {
	if b.format == formatJSON {
		return b.printOne(r)
	}
	t := b.newTable("WORKLOAD", "TASKS", "RUNS", "MEASURE", "MEDIAN", "RANGE")
	for _, w := range r.Workloads {
		row := func(measure string, s spread, format string) {
			median, ends := s.cells(format)
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
