package harness

import (
	"context"
	"time"
)

// Workload names what is measured.
type Workload string

// The workloads.
const (
	// Array is one job of many tasks without payload or result.
	Array Workload = "array"
	// Distinct is tasks with 64-byte payloads of their own and 16-byte results.
	Distinct Workload = "distinct"
	// Single is one task at a time, from its submit to its result.
	Single Workload = "single"
	// Clients is many clients, each of which does what Single does.
	Clients Workload = "clients"
	// Large is tasks with payloads and results of 64 KiB.
	Large Workload = "large"
	// Commands is a program started for each line of an input.
	Commands Workload = "commands"
	// Failover is the loss of the leader, again and again.
	Failover Workload = "failover"
	// Overload is more than the system can take, from many clients, for a while.
	Overload Workload = "overload"
)

// Workloads is all of them, in the order in which they are explained.
var Workloads = []Workload{Array, Distinct, Single, Clients, Large, Commands, Failover, Overload}

// Latency says that the workload is judged by its latencies, of which less is better.
func (w Workload) Latency() bool { return w == Single || w == Failover }

// How a failover is brought about.
const (
	// Kill ends the leader as a crash would, with SIGKILL.
	Kill = "kill"
	// Pause stops the leader with SIGSTOP: its connections stay open, and nobody answers.
	Pause = "pause"
	// Network cuts the leader's network, as the loss of its power would look to others:
	// packets are lost both ways, and no connection is closed.
	Network = "network"
)

// Load is a workload and its size.
type Load struct {
	Workload Workload
	// Tasks is how many there are; for Failover, how often the leader is lost.
	Tasks int
	// Clients is how many clients there are at once, for Clients and Overload.
	Clients int
	// For is how long Overload submits.
	For time.Duration
	// Slots is how many tasks a worker runs at once.
	Slots int
	// How is how a leader is lost, for Failover.
	How string
	// Round tells the payloads of this run from those of others.
	Round uint32
}

// Workers is how many workers each system has.
const Workers = 2

// A System is what can be measured. It is started, run some times, and stopped; then it
// can be started again in another folder.
type System interface {
	Name() string
	// Check returns why the system cannot be measured here, and what to do about it.
	Check() error
	// Counterpart says what stands for the workload here; ok is false where nothing
	// does, and then the note says why.
	Counterpart(w Workload) (note string, ok bool)
	// Start starts the system in an empty folder and returns when it serves.
	Start(ctx context.Context, dir string, load Load) error
	// Run runs the load and returns when all of its results have arrived and were found
	// right. What comes before the first submit is not part of the Measure.
	Run(ctx context.Context, load Load) (Measure, error)
	// Processes is the processes of the system, except this one.
	Processes() []Process
	// Stop ends the system. It may be called after a Start that failed.
	Stop(ctx context.Context) error
}

// A Verifier can check itself after a run, outside of what is measured.
type Verifier interface {
	Verify(ctx context.Context) error
}

// A Replicator keeps several copies of what it is given; others keep one.
type Replicator interface {
	Copies() int
}

// Process is one process of a system. Several may have the same role.
type Process struct {
	Role string
	Pid  int
}

// Measure is what one run measured.
type Measure struct {
	Tasks   int
	Elapsed time.Duration
	// Latencies is from a submit to its result, for workloads that have such; for
	// Failover, from the loss of the leader to the first result of a new submit.
	Latencies []time.Duration
	// Accepted is from the loss of the leader to the next accepted submit.
	Accepted []time.Duration
	// Duplicates counts results that came more than once, which a system that delivers
	// at least once may do.
	Duplicates int
	// Overload is what else was seen under Overload; nil for the others.
	Overload *Overloaded
}

// Overloaded is how a system behaved that got more than it could take.
type Overloaded struct {
	Clients int `json:"clients"`
	// Refused counts the answers that asked a client to come again later, after LeastDelay
	// to MostDelay.
	Refused    int64         `json:"refused"`
	LeastDelay time.Duration `json:"least_delay_ns"`
	MostDelay  time.Duration `json:"most_delay_ns"`
	// Resent counts the submits that came again because their answer took too long.
	Resent int64 `json:"resent"`
	// Large is how many of the tasks had large payloads and results.
	Large int `json:"large"`
	// Drained is from the end of the submits to the last result.
	Drained time.Duration `json:"drained_ns"`
	// PeakRSS is the largest resident set of a server, of which RSSBound is allowed.
	PeakRSS  int64 `json:"peak_rss_bytes"`
	RSSBound int64 `json:"rss_bound_bytes"`
	// LeaderChanges is how often the leader changed meanwhile.
	LeaderChanges uint64 `json:"leader_changes"`
}
