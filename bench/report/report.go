// Package report makes a table, JSON and charts of what was measured.
//
// All three are made of one Report, so that they cannot differ. Throughputs and
// latencies are quoted as the median with the range over the runs; ratios are made pair
// by pair, of runs that were neighbours in time, and then quoted as their median.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/bench/harness"
	"github.com/rota-scheduler/rota/bench/stats"
)

// Report is what was measured of one workload.
type Report struct {
	Workload harness.Workload `json:"workload"`
	// CPUs is how many this machine has for all processes together.
	CPUs int `json:"cpus"`
	// Conditions is what was made different from a usual run, for people.
	Conditions []string `json:"conditions,omitempty"`
	Systems    []System `json:"systems"`
	// Ratios compare the subject with each peer.
	Ratios []Ratio `json:"ratios"`
	// Skipped is what was asked for and could not be measured.
	Skipped []Skipped `json:"skipped"`
	// Failed is runs that came to nothing.
	Failed []Failed `json:"failed,omitempty"`
}

// System is the runs of one system.
type System struct {
	Name string `json:"name"`
	// Note says what stands for the workload there.
	Note string `json:"note"`
	// Tasks is how many a run has.
	Tasks     int          `json:"tasks"`
	TasksPerS float64      `json:"tasks_per_s"`
	Range     stats.Spread `json:"tasks_per_s_range"`
	// P50MS and P99MS are of the latencies of all runs together.
	P50MS float64 `json:"p50_ms,omitempty"`
	P99MS float64 `json:"p99_ms,omitempty"`
	// AcceptedP50MS and AcceptedP99MS are from the loss of the leader to the next
	// accepted submit.
	AcceptedP50MS float64 `json:"accepted_p50_ms,omitempty"`
	AcceptedP99MS float64 `json:"accepted_p99_ms,omitempty"`
	// CPUUSPerTask is the CPU time of a task by role, median.
	CPUUSPerTask map[string]float64 `json:"cpu_us_per_task,omitempty"`
	// FlushesPer1000 is how often the disk was made to flush, for 1,000 tasks, median;
	// it counts all that the machine did meanwhile.
	FlushesPer1000 *float64 `json:"flushes_per_1000,omitempty"`
	// DiskFactor is how much longer a run took than the disk alone would have for the
	// payloads and results, in as many copies as the system keeps; for large.
	DiskFactor *stats.Spread `json:"disk_factor,omitempty"`
	// WrittenFactor is the same for all that the disk wrote meanwhile: logs, states, and
	// whatever else the machine had to write.
	WrittenFactor *stats.Spread `json:"written_factor,omitempty"`
	Runs          []Run         `json:"runs"`
}

// Run is one run.
type Run struct {
	Pair      int                `json:"pair"`
	Seconds   float64            `json:"seconds"`
	TasksPerS float64            `json:"tasks_per_s"`
	P50MS     float64            `json:"p50_ms,omitempty"`
	P99MS     float64            `json:"p99_ms,omitempty"`
	CPUUS     map[string]float64 `json:"cpu_us_per_task,omitempty"`
	Flushes   *uint64            `json:"flushes,omitempty"`
	WrittenMB *float64           `json:"written_mb,omitempty"`
	// DiskMBPerS is what the disk alone could write just before; for large.
	DiskMBPerS float64 `json:"disk_mb_per_s,omitempty"`
	// Duplicates is results that came more than once.
	Duplicates int `json:"duplicates,omitempty"`
	// Overload is what else was seen under overload.
	Overload *harness.Overloaded `json:"overload,omitempty"`
}

// Ratio compares the subject with a peer, as the median over the pairs.
type Ratio struct {
	Subject string `json:"subject"`
	Peer    string `json:"peer"`
	// Of is what is divided: tasks_per_s, where more is better, or p50_ms, where less is.
	Of    string  `json:"of"`
	Ratio float64 `json:"ratio"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
	Pairs int     `json:"pairs"`
}

// Skipped is a system that was not measured.
type Skipped struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Failed is a run of a system that came to nothing.
type Failed struct {
	Name  string `json:"name"`
	Pair  int    `json:"pair"`
	Error string `json:"error"`
}

const mega = 1e6

// Fail adds the runs that came to nothing.
func (r *Report) Fail(failures []harness.Failure) {
	for _, f := range failures {
		r.Failed = append(r.Failed, Failed{Name: f.System.Name(), Pair: f.Pair, Error: f.Err.Error()})
	}
}

// New makes a report. subjects and peers are in the order in which they are shown.
func New(w harness.Workload, subjects, peers []harness.System, outcomes []harness.Outcome, skipped []Skipped) *Report {
	r := &Report{Workload: w, CPUs: runtime.NumCPU(), Systems: []System{}, Ratios: []Ratio{}, Skipped: append([]Skipped{}, skipped...)}
	for _, s := range append(append([]harness.System{}, subjects...), peers...) {
		var own []harness.Outcome
		for _, o := range outcomes {
			if o.Step.System == s {
				own = append(own, o)
			}
		}
		if len(own) > 0 {
			r.Systems = append(r.Systems, summarize(w, s, own))
		}
	}
	for _, s := range subjects {
		for _, p := range peers {
			if ratio, ok := r.compare(s.Name(), p.Name()); ok {
				r.Ratios = append(r.Ratios, ratio)
			}
		}
	}
	return r
}

func summarize(w harness.Workload, s harness.System, own []harness.Outcome) System {
	note, _ := s.Counterpart(w)
	out := System{Name: s.Name(), Note: note, Tasks: own[0].Tasks, Runs: []Run{}}
	copies := 1
	if c, ok := s.(harness.Replicator); ok {
		copies = c.Copies()
	}
	var rates, flushes, factors, written []float64
	var latencies, accepted []time.Duration
	for _, o := range own {
		run := runOf(&o)
		out.Runs = append(out.Runs, run)
		rates = append(rates, run.TasksPerS)
		latencies, accepted = append(latencies, o.Latencies...), append(accepted, o.Accepted...)
		if run.Flushes != nil {
			flushes = append(flushes, float64(*run.Flushes)*1000/float64(o.Tasks))
		}
		if o.DiskRate > 0 {
			alone := float64(o.Tasks*w.Bytes()*copies) / o.DiskRate
			factors = append(factors, o.Elapsed.Seconds()/alone)
			if o.Disk.Known && o.Disk.Written > 0 {
				written = append(written, o.Elapsed.Seconds()*o.DiskRate/float64(o.Disk.Written))
			}
		}
	}
	out.Range = stats.Of(rates)
	out.TasksPerS = out.Range.Median
	out.P50MS, out.P99MS = stats.Percentile(latencies, 50), stats.Percentile(latencies, 99)
	out.AcceptedP50MS, out.AcceptedP99MS = stats.Percentile(accepted, 50), stats.Percentile(accepted, 99)
	out.CPUUSPerTask = medianCPU(out.Runs)
	if len(flushes) > 0 {
		median := stats.Of(flushes).Median
		out.FlushesPer1000 = &median
	}
	if len(factors) > 0 {
		spread := stats.Of(factors)
		out.DiskFactor = &spread
	}
	if len(written) > 0 {
		spread := stats.Of(written)
		out.WrittenFactor = &spread
	}
	if w == harness.Failover {
		// How many failovers there are in a second is a measure of the harness.
		out.TasksPerS, out.Range = 0, stats.Spread{}
	}
	return out
}

func runOf(o *harness.Outcome) Run {
	r := Run{
		Pair: o.Pair, Seconds: o.Elapsed.Seconds(), Duplicates: o.Duplicates, Overload: o.Overload, DiskMBPerS: o.DiskRate / mega,
		P50MS: stats.Percentile(o.Latencies, 50), P99MS: stats.Percentile(o.Latencies, 99),
	}
	if o.Elapsed > 0 {
		r.TasksPerS = float64(o.Tasks) / o.Elapsed.Seconds()
	}
	if o.Tasks == 0 {
		return r
	}
	if len(o.CPU) > 0 {
		r.CPUUS = map[string]float64{}
		for role, used := range o.CPU {
			r.CPUUS[role] = float64(used) / float64(time.Microsecond) / float64(o.Tasks)
		}
	}
	if o.Disk.Known {
		written := float64(o.Disk.Written) / mega
		r.Flushes, r.WrittenMB = &o.Disk.Flushes, &written
	}
	return r
}

func medianCPU(runs []Run) map[string]float64 {
	values := map[string][]float64{}
	for _, r := range runs {
		for role, used := range r.CPUUS {
			values[role] = append(values[role], used)
		}
	}
	if len(values) == 0 {
		return nil
	}
	out := map[string]float64{}
	for role, list := range values {
		out[role] = stats.Of(list).Median
	}
	return out
}

// compare makes the ratio of the runs that are a pair.
func (r *Report) compare(subject, peer string) (Ratio, bool) {
	value, of := func(run Run) float64 { return run.TasksPerS }, "tasks_per_s"
	if r.Workload.Latency() {
		value, of = func(run Run) float64 { return run.P50MS }, "p50_ms"
	}
	var ours, theirs []float64
	for _, run := range r.system(peer).Runs {
		at := slices.IndexFunc(r.system(subject).Runs, func(s Run) bool { return s.Pair == run.Pair })
		if at < 0 {
			continue
		}
		ours, theirs = append(ours, value(r.system(subject).Runs[at])), append(theirs, value(run))
	}
	ratios := stats.Ratios(ours, theirs)
	if len(ratios) == 0 {
		return Ratio{}, false
	}
	s := stats.Of(ratios)
	return Ratio{Subject: subject, Peer: peer, Of: of, Ratio: s.Median, Min: s.Min, Max: s.Max, Pairs: len(ratios)}, true
}

func (r *Report) system(name string) System {
	for _, s := range r.Systems {
		if s.Name == name {
			return s
		}
	}
	return System{}
}

// JSON writes the report as one object.
func (r *Report) JSON(w io.Writer) error { return writeJSON(w, r) }

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
