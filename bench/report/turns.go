package report

import (
	"encoding/json"
	"fmt"

	"github.com/rota-scheduler/rota/bench/stats"
)

// Parse reads a report that was written by JSON.
func Parse(data []byte) (*Report, error) {
	r := &Report{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("read a report: %w", err)
	}
	if len(r.Systems) != 1 || len(r.Systems[0].Runs) == 0 {
		return nil, fmt.Errorf("the report of %s is not of runs of one system", r.Workload)
	}
	return r, nil
}

// Turns makes one report of two builds that were measured in turns: the i-th report of
// each is of one pair. Each is of one system; both get new names.
func Turns(this, other string, ours, theirs []*Report) *Report {
	r := &Report{Workload: ours[0].Workload, CPUs: ours[0].CPUs, Conditions: ours[0].Conditions, Skipped: []Skipped{}, Ratios: []Ratio{}}
	r.Systems = []System{joined(this, ours), joined(other, theirs)}
	if ratio, ok := r.compare(this, other); ok {
		r.Ratios = append(r.Ratios, ratio)
	}
	return r
}

// joined is one system of all runs. The latencies behind the percentiles are not in a
// report any more, so those of the whole are medians of those of the runs.
func joined(name string, reports []*Report) System {
	out := reports[0].Systems[0]
	out.Name, out.Runs = name, nil
	var rates, p50, p99, flushes []float64
	for pair, r := range reports {
		for _, run := range r.Systems[0].Runs {
			run.Pair = pair
			out.Runs = append(out.Runs, run)
			rates, p50, p99 = append(rates, run.TasksPerS), append(p50, run.P50MS), append(p99, run.P99MS)
			if run.Flushes != nil {
				flushes = append(flushes, float64(*run.Flushes)*1000/float64(out.Tasks))
			}
		}
	}
	out.Range = stats.Of(rates)
	out.TasksPerS, out.P50MS, out.P99MS = out.Range.Median, stats.Of(p50).Median, stats.Of(p99).Median
	out.CPUUSPerTask, out.FlushesPer1000 = medianCPU(out.Runs), nil
	if len(flushes) > 0 {
		median := stats.Of(flushes).Median
		out.FlushesPer1000 = &median
	}
	return out
}
