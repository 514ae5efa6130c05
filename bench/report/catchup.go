package report

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Catchup is what sending a large state has cost.
type Catchup struct {
	// LinkMiB is the rate of the link, MiB/s.
	LinkMiB float64 `json:"link_mib"`
	// JobsPerSecond is the load, of TasksPerJob with PayloadBytes each.
	JobsPerSecond int     `json:"jobs_per_second"`
	TasksPerJob   int     `json:"tasks_per_job"`
	PayloadBytes  int     `json:"payload_bytes"`
	FillSeconds   float64 `json:"fill_seconds"`
	Phases        []Phase `json:"phases"`
}

// Phase is a time in which the same happens throughout.
type Phase struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	// StateGiB is the size of the leader's state.db at the end.
	StateGiB float64 `json:"state_gib"`
	// Applied is how many batches of entries the leader has applied; half of them took
	// ApplyP50MS at most, 99 of a hundred ApplyP99MS.
	Applied    uint64  `json:"applied"`
	ApplyP50MS float64 `json:"apply_p50_ms"`
	ApplyP99MS float64 `json:"apply_p99_ms"`
	// Submits is how many jobs were accepted; the times count from when each was due.
	Submits     int     `json:"submits"`
	SubmitP50MS float64 `json:"submit_p50_ms"`
	SubmitP99MS float64 `json:"submit_p99_ms"`
	SubmitMaxMS float64 `json:"submit_max_ms"`
}

// Table writes the phases for people.
func (c *Catchup) Table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "catchup: a link of %s MiB/s; %d jobs a second of %d tasks with %s bytes each; filled in %s s\n\n",
		num(c.LinkMiB), c.JobsPerSecond, c.TasksPerJob, num(float64(c.PayloadBytes)), num(c.FillSeconds))
	fmt.Fprintln(w, "PHASE\tS\tSTATE.DB GIB\tAPPLIED\tAPPLY MS P50 / P99\tSUBMITS\tSUBMIT MS P50 / P99 / MOST")
	for _, p := range c.Phases {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s / %s\t%s\t%s / %s / %s\n", p.Name, num(p.Seconds), num(p.StateGiB), num(float64(p.Applied)),
			num(p.ApplyP50MS), num(p.ApplyP99MS), num(float64(p.Submits)), num(p.SubmitP50MS), num(p.SubmitP99MS), num(p.SubmitMaxMS))
	}
	fmt.Fprintln(w)
	return w.Flush()
}

// JSON writes the phases as one object.
func (c *Catchup) JSON(w io.Writer) error { return writeJSON(w, c) }
