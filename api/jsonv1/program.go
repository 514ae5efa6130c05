package jsonv1

// Version is what version prints.
type Version struct {
	// Version is that of the build of the program.
	Version string `json:"version"`
}

// Bench is what bench prints.
type Bench struct {
	// Version is that of the build of the program.
	Version string `json:"version"`
	// Servers is how many servers the cluster has.
	Servers   int             `json:"servers"`
	Workloads []BenchWorkload `json:"workloads"`
}

// BenchWorkload is what the runs of one workload measured.
type BenchWorkload struct {
	// Workload is array, distinct or single.
	Workload string `json:"workload"`
	// Tasks is how many tasks each run has, Runs how many runs there were.
	Tasks int `json:"tasks"`
	Runs  int `json:"runs"`
	// TasksPerSecond counts the time from the submit to the last result, SubmitPerSecond that of the submit alone.
	TasksPerSecond  Spread `json:"tasks_per_second"`
	SubmitPerSecond Spread `json:"submit_per_second"`
	// P50MS and P99MS are the percentiles of the time from the submit of a task to its result, milliseconds; omitted for
	// all workloads but single.
	P50MS *Spread `json:"p50_ms,omitempty"`
	P99MS *Spread `json:"p99_ms,omitempty"`
}

// Spread is what several runs measured.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}
