package history

// F is what an op does.
type F string

// Requests of clients: invoke, then ok, fail or info.
const (
	// FSubmit submits a job: Submit, Submitted.
	FSubmit F = "submit"
	// FCancel cancels a job: Cancel, Cancelled.
	FCancel F = "cancel"
	// FTask reads one task, linearizable: Task, TaskRead.
	FTask F = "task"
	// FAppend appends one task to an open job: Append, Appended.
	FAppend F = "append"
	// FRead reads a job, linearizable: ReadJob, JobRead.
	FRead F = "read"
	// FStream follows the results of a job for a while: StreamStart, Streamed. Whatever
	// ended it, Streamed has what came.
	FStream F = "stream"
	// FList lists the jobs of a queue, linearizable: List, Jobs.
	FList F = "list"
	// FMember changes whether a server votes: Member, Membered.
	FMember F = "member"
)

// Grows says whether a function is one that makes work: what users wait for after a fault.
func (f F) Grows() bool { return f == FSubmit || f == FAppend }

// Notes of the harness, always info.
const (
	// FSetup says what is run: Setup. It is the first op.
	FSetup F = "setup"
	// FPhase says that a phase begins: Phase.
	FPhase F = "phase"
	// FRemoved is the acknowledged removal of a server: Removed.
	FRemoved F = "removed"
	// FFault and FHeal are the nemesis: Fault.
	FFault F = "fault"
	FHeal  F = "heal"
	// FLeader is a leader that a server knows of: Leader.
	FLeader F = "leader"
	// FExit is a process that ended though nobody asked it to: Exit.
	FExit F = "exit"
	// FFinalJobs is all jobs of one server in the end: Jobs.
	FFinalJobs F = "final-jobs"
	// FFinalResults is all results of one server in the end: Results.
	FFinalResults F = "final-results"
	// FDigest is a comparison of the servers' states in the end: Digests.
	FDigest F = "digest"
	// FLedger is what the commands of tasks wrote: Ledger.
	FLedger F = "ledger"
	// FLogs is what stands out in the logs of a process: Logs.
	FLogs F = "logs"
)

// Setup is what is run.
type Setup struct {
	Workload string   `json:"workload"`
	Nemesis  string   `json:"nemesis"`
	Servers  []string `json:"servers"`
	Workers  []string `json:"workers"`
	Seed     uint64   `json:"seed"`
	// RecoveryNs bounds the time from a heal to the next acknowledged submit.
	RecoveryNs int64 `json:"recovery_ns"`
	// Needs is what must have happened for the run to say anything; see checker/vacuity.go.
	Needs Needs `json:"needs"`
}

// Needs is the least that must have happened.
type Needs struct {
	Acks    int `json:"acks"`
	Leaders int `json:"leaders"`
	Faults  int `json:"faults"`
	// Checked is the checks that must have had something to check.
	Checked []string `json:"checked,omitempty"`
}

// Phase is the name of a phase: quiet, faults, heal, recovery, drain, final, done.
type Phase struct {
	Name string `json:"name"`
	// Problem is why it did not come to its end; it is noted of Drained only.
	Problem string `json:"problem,omitempty"`
}

// Drained is the end of a drain under a fault that goes on.
const Drained = "drained"

// Submit is a job to submit.
type Submit struct {
	Key   string `json:"key"`
	Queue string `json:"queue,omitempty"`
	// Tasks is how many it has at once; an open job gets more by Append.
	Tasks int `json:"tasks"`
	// Body tells requests with the same key and another content apart.
	Body   string `json:"body,omitempty"`
	Serial bool   `json:"serial,omitempty"`
	Open   bool   `json:"open,omitempty"`
	// Output is what every task returns; empty: it is not known in advance.
	Output string `json:"output,omitempty"`
	// MaxParallel is the most tasks that may be assigned at once; 0: no limit.
	MaxParallel uint32 `json:"max_parallel,omitempty"`
	// Attempts is the most failed attempts of a task; 0: nobody counts them.
	Attempts uint32 `json:"attempts,omitempty"`
	// BackoffNs is the shortest wait after the first failure, which doubles with each.
	BackoffNs int64 `json:"backoff_ns,omitempty"`
	// TimeoutNs is the longest run of an attempt; 0: there is none.
	TimeoutNs int64 `json:"timeout_ns,omitempty"`
}

// Submitted is an acknowledged submit.
type Submitted struct {
	Job     uint64 `json:"job"`
	Existed bool   `json:"existed,omitempty"`
	// Conflict: the request was refused because its key made another job.
	Conflict bool `json:"conflict,omitempty"`
}

// Cancel is a job to cancel.
type Cancel struct {
	Job uint64 `json:"job"`
}

// Cancelled is what a cancel did.
type Cancelled struct {
	Cancelled uint32 `json:"cancelled"`
	Stopping  uint32 `json:"stopping"`
}

// Task is a task to read.
type Task struct {
	Job   uint64 `json:"job"`
	Index uint32 `json:"task"`
}

// TaskRead is a task as it was read.
type TaskRead struct {
	Job     uint64 `json:"job"`
	Index   uint32 `json:"task"`
	State   string `json:"state"`
	Attempt uint32 `json:"attempt"`
	Token   uint64 `json:"token"`
}

// Append is a task to append at a place.
type Append struct {
	Job uint64 `json:"job"`
	At  uint32 `json:"at"`
	// Payload is unique to the request, and comes back as the task's output.
	Payload string `json:"payload"`
}

// Appended is an acknowledged append.
type Appended struct {
	Total uint32 `json:"total"`
	// Refused: another task stands at the place already, or there is a gap before it.
	Refused bool `json:"refused,omitempty"`
}

// ReadJob is a job to read.
type ReadJob struct {
	Job uint64 `json:"job"`
}

// JobRead is a job as it was read.
type JobRead struct {
	Job   uint64 `json:"job"`
	Total uint32 `json:"total"`
	State string `json:"state"`
}

// StreamStart says where a stream goes on.
type StreamStart struct {
	// Stream names one reader, whatever processes it goes on as.
	Stream string `json:"stream"`
	Job    uint64 `json:"job"`
	// Received is how many results came before.
	Received int `json:"received"`
}

// Streamed is what came on a stream.
type Streamed struct {
	Stream   string    `json:"stream"`
	Job      uint64    `json:"job"`
	Outcomes []Outcome `json:"outcomes"`
	// Complete: the server said that there are no more.
	Complete bool `json:"complete,omitempty"`
}

// Outcome is how one task ended.
type Outcome struct {
	Index   uint32 `json:"task"`
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
	Attempt uint32 `json:"attempt"`
	Token   uint64 `json:"token"`
	Worker  string `json:"worker,omitempty"`
	Output  string `json:"output,omitempty"`
}

// List is the queue whose jobs are listed.
type List struct {
	Queue string `json:"queue"`
}

// Jobs is the jobs that a server shows.
type Jobs struct {
	Applied uint64 `json:"applied"`
	Jobs    []Job  `json:"jobs"`
}

// Job is one of them.
type Job struct {
	ID    uint64 `json:"id"`
	Key   string `json:"key"`
	State string `json:"state"`
	// Final: every task has an outcome.
	Final bool   `json:"final"`
	Total uint32 `json:"total"`
	// Counted is the sum over the states of its tasks.
	Counted uint32 `json:"counted"`
	// Held is how many of them are assigned, or being stopped.
	Held uint32 `json:"held,omitempty"`
}

// Results is the results that a server shows, in the order of their completion.
type Results struct {
	Jobs []JobResults `json:"jobs"`
}

// JobResults is those of one job.
type JobResults struct {
	Job      uint64    `json:"job"`
	Outcomes []Outcome `json:"outcomes"`
}

// Digests is a comparison of the servers' states at one log index.
type Digests struct {
	Index   uint64   `json:"index"`
	Servers []Digest `json:"servers"`
}

// Digest is that of one server.
type Digest struct {
	Node       string   `json:"node"`
	Index      uint64   `json:"index"`
	Digest     string   `json:"digest"`
	Error      string   `json:"error,omitempty"`
	Violations []string `json:"violations,omitempty"`
}

// Ledger is what the commands of tasks wrote, in the order in which they did.
type Ledger struct {
	Lines []LedgerLine `json:"lines"`
}

// LedgerLine is one note of a command: start, on or end.
type LedgerLine struct {
	What    string `json:"what"`
	Job     uint64 `json:"job"`
	Index   uint32 `json:"task"`
	Attempt uint32 `json:"attempt"`
	// Token is the fencing token that the command was given.
	Token uint64 `json:"token"`
}

// Fault is a fault that begins or ends.
type Fault struct {
	Kind    string   `json:"kind"`
	Targets []string `json:"targets,omitempty"`
	// Effect counts what the fault did, such as packets that were dropped; a heal with 0
	// says that it came to nothing.
	Effect int64 `json:"effect,omitempty"`
}

// Leader is a leader that a server knows of.
type Leader struct {
	Leader string `json:"leader"`
	Term   uint64 `json:"term"`
}

// Exit is a process that ended by itself.
type Exit struct {
	Name string `json:"name"`
	Code int    `json:"code"`
	// Excused: a fault was on it that it may end for, such as a full disk.
	Excused bool   `json:"excused,omitempty"`
	Tail    string `json:"tail,omitempty"`
}

// Logs is lines that no log may have.
type Logs struct {
	Name   string   `json:"name"`
	Lines  int      `json:"lines"`
	Alarms []string `json:"alarms,omitempty"`
}
