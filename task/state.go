package task

import "fmt"

// State is the state of a task. It is replicated: every server agrees on
// it at every log index.
type State uint8

// The states of a task. The numbers are stored and must not change.
const (
	// Blocked waits for other jobs.
	Blocked State = 1
	// Scheduled waits for a time: a delay, or the backoff before the next
	// attempt. Once that time has come the task can be granted as it is.
	Scheduled State = 2
	// Pending can be granted to a worker now.
	Pending State = 3
	// Assigned is granted to a worker under a token.
	Assigned State = 4
	// Stopping is assigned, and asked to end: its slot stays held until the worker
	// confirms or loses its lease.
	Stopping State = 5
	// Succeeded, Failed and Cancelled are final.
	Succeeded State = 6
	Failed    State = 7
	Cancelled State = 8

	// NumStates bounds arrays that are indexed by State.
	NumStates = 9
)

var stateNames = [NumStates]string{"unknown", "blocked", "scheduled", "pending", "assigned", "stopping", "succeeded", "failed", "cancelled"}

// String returns the state's name, as in JSON and tables.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Final says whether the state is an outcome. A task never leaves an outcome.
func (s State) Final() bool { return s >= Succeeded && s <= Cancelled }

// Held says whether a task in this state occupies a slot of a worker.
func (s State) Held() bool { return s == Assigned || s == Stopping }

// transitions is every legal change of state. It is the only way to change one:
// the state machine asks Legal before it writes.
var transitions = [NumStates]uint16{
	Blocked:   1<<Pending | 1<<Scheduled | 1<<Cancelled | 1<<Failed,
	Scheduled: 1<<Assigned | 1<<Pending | 1<<Cancelled,
	Pending:   1<<Assigned | 1<<Cancelled,
	// Back to Pending when it was returned or its worker was lost, to Scheduled
	// for the backoff before another attempt.
	Assigned: 1<<Succeeded | 1<<Failed | 1<<Scheduled | 1<<Pending | 1<<Stopping | 1<<Cancelled,
	Stopping: 1<<Cancelled | 1<<Failed | 1<<Scheduled,
}

// Legal says whether a task may go from one state to another.
func Legal(from, to State) bool {
	return from < NumStates && to < NumStates && transitions[from]&(1<<to) != 0
}

// Reason says why a task ended as it did, for machines.
type Reason uint8

// The reasons. The numbers are stored and must not change.
const (
	NoReason         Reason = 0
	ReasonError      Reason = 1 // the handler failed, or the command could not start
	ReasonExitCode   Reason = 2 // the command exited with another code than 0
	ReasonTimeout    Reason = 3 // an attempt ran longer than the job's timeout
	ReasonWorkerLost Reason = 4 // its workers were lost more than MaxLost times
	ReasonExpired    Reason = 5 // it had not started by its expiry
	ReasonDependency Reason = 6 // what it depends on did not succeed
	ReasonUser       Reason = 7 // a user cancelled it
	ReasonAbandoned  Reason = 8 // an open job got no tasks for too long

	// NumReasons bounds arrays that are indexed by Reason.
	NumReasons = 9
)

var reasonNames = [NumReasons]string{"", "error", "exit-code", "timeout", "worker-lost", "expired", "dependency", "user", "abandoned"}

// String returns the reason's name, as in JSON and tables; "" for none.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Valid says whether r is a known reason, NoReason among them.
func (r Reason) Valid() bool { return r < NumReasons }

// Outcome is how an attempt ended, as its worker reports it.
type Outcome uint8

// The outcomes. The numbers are stored and must not change.
const (
	OutcomeSucceeded Outcome = 1
	// OutcomeFailed: it ran and failed; it is tried again while attempts are left.
	OutcomeFailed Outcome = 2
	// OutcomeReturned: it was never started, and costs no attempt.
	OutcomeReturned Outcome = 3
	// OutcomeStopped: it was stopped on request, for its lease, or because its
	// worker ends in good order.
	OutcomeStopped Outcome = 4
	// OutcomeLost: the process that watched over it ended while it ran. It counts like a lost worker.
	OutcomeLost Outcome = 5
)

// Valid says whether o is a known outcome.
func (o Outcome) Valid() bool { return o >= OutcomeSucceeded && o <= OutcomeLost }

// JobState is derived from the states of a job's tasks.
type JobState uint8

// The states of a job.
const (
	JobPending   JobState = 1 // no task was ever assigned, not all are final
	JobRunning   JobState = 2 // some task was assigned, not all are final
	JobSucceeded JobState = 3 // every task succeeded
	JobFailed    JobState = 4 // all tasks are final, at least one failed
	JobCancelled JobState = 5 // all tasks are final, none failed, some were cancelled
)

var jobStateNames = [...]string{"unknown", "pending", "running", "succeeded", "failed", "cancelled"}

// String returns the state's name as it stands in JSON and tables.
func (s JobState) String() string {
	if int(s) < len(jobStateNames) {
		return jobStateNames[s]
	}
	return fmt.Sprintf("job-state(%d)", uint8(s))
}

// ParseJobState is the inverse of String.
func ParseJobState(name string) (JobState, bool) {
	for i := JobPending; i <= JobCancelled; i++ {
		if jobStateNames[i] == name {
			return i, true
		}
	}
	return 0, false
}

// Final says whether all tasks of the job are final.
func (s JobState) Final() bool { return s >= JobSucceeded }

// Counts is the number of tasks of a job in each state.
type Counts [NumStates]uint32

// Final is the number of tasks that have an outcome.
func (c *Counts) Final() uint32 { return c[Succeeded] + c[Failed] + c[Cancelled] }

// Held is the number of tasks that occupy a slot.
func (c *Counts) Held() uint32 { return c[Assigned] + c[Stopping] }

// Waiting is the number of tasks that nobody has.
func (c *Counts) Waiting() uint32 { return c[Blocked] + c[Scheduled] + c[Pending] }

// JobState derives the state of a job of total tasks, of which none will be added
// unless open. started says that some task was ever assigned.
func (c *Counts) JobState(total uint32, open, started bool) JobState {
	switch {
	case open || c.Final() < total:
		if started {
			return JobRunning
		}
		return JobPending
	case c[Failed] > 0:
		return JobFailed
	case c[Cancelled] > 0 || total == 0: // only a cancel ends a job without tasks
		return JobCancelled
	default:
		return JobSucceeded
	}
}
