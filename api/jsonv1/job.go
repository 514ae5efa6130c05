package jsonv1

import (
	"time"

	"github.com/rota-scheduler/rota/task"
)

// Job is a job: an element of job list, and what job get ID and job wait print.
type Job struct {
	// ID is 1 or more.
	ID uint64 `json:"id"`
	// Name is for people; "" if the job has none.
	Name  string `json:"name"`
	Queue string `json:"queue"`
	// State is pending, running, succeeded, failed or cancelled. The last three are final.
	State string `json:"state"`
	// Reason is that of the first task that did not succeed: error, exit-code, timeout, worker-lost, expired, dependency,
	// user or abandoned; "" if there is none.
	Reason string     `json:"reason"`
	Tasks  TaskCounts `json:"tasks"`

	// Handler is the Go function that the tasks run; omitted if they run a command.
	Handler string `json:"handler,omitempty"`
	// Command is the program that the tasks run, and its arguments; omitted if they run a handler.
	Command []string `json:"command,omitempty"`
	// Env is the variables that the user gave to the command; omitted if there are none.
	Env map[string]string `json:"env,omitempty"`
	// Cwd is the folder that the command runs in; omitted if each attempt gets a new one.
	Cwd string `json:"cwd,omitempty"`
	// Stdout is where the standard output of the command goes, as --stdout says it: full, discard or file:PATH; omitted if
	// it is ends, the default.
	Stdout string `json:"stdout,omitempty"`
	// Execution is parallel, or serial: in index order, one at a time.
	Execution string `json:"execution"`
	// Alloc is how workers are chosen: least-loaded or random.
	Alloc string `json:"alloc"`
	// MaxParallel is how many tasks may be assigned at once; 0: no limit.
	MaxParallel uint32 `json:"max_parallel"`
	// Priority is -1000 to 1000. Within a queue, higher goes first.
	Priority int32 `json:"priority"`
	// MaxAttempts is how often a task is tried, 1 to 100.
	MaxAttempts uint32 `json:"max_attempts"`
	// TimeoutMS is how long one attempt may run, milliseconds; omitted if there is no limit.
	TimeoutMS int64 `json:"timeout_ms,omitempty"`
	// RetentionMS is how long the job is kept once it has ended, milliseconds; omitted if that is the default: 24 hours if
	// it succeeded, 7 days if not.
	RetentionMS int64 `json:"retention_ms,omitempty"`
	// Require is the labels that a worker must have; omitted if there are none.
	Require map[string]string `json:"require,omitempty"`
	// Meta is what the user has stored with the job; omitted if it is nothing.
	Meta map[string]string `json:"meta,omitempty"`

	SubmittedAt *time.Time `json:"submitted_at"`
	// StartedAt is when the first task was assigned; null before.
	StartedAt *time.Time `json:"started_at"`
	// FinishedAt is when the last task ended; null before.
	FinishedAt *time.Time `json:"finished_at"`
	// StartsAt is the earliest start of the tasks; omitted if they may start at once.
	StartsAt *time.Time `json:"starts_at,omitempty"`
	// RetryOf is the job that this one retries; omitted if it retries none.
	RetryOf uint64 `json:"retry_of,omitempty"`
	// Missing is why no connected worker can run the tasks, in words for people; omitted if some worker can or no task
	// waits, and in lists.
	Missing []string `json:"missing,omitempty"`
	// LastFailure is an attempt that did not end its task: among those with the highest number the newest; omitted if no
	// task is tried again, and in lists.
	LastFailure *Failure `json:"last_failure,omitempty"`
	// Key is the request key of the submit; omitted if it had none.
	Key string `json:"key,omitempty"`
	// Open: the job may still get more tasks; omitted if false.
	Open bool `json:"open,omitempty"`
	// Cancelling: somebody asked to cancel the job; omitted if false.
	Cancelling bool `json:"cancelling,omitempty"`
	// AppliedIndex is the log index of the state that the answer comes from.
	AppliedIndex uint64 `json:"applied_index"`
	// Stale: a server answered from its own state without asking the leader, so the answer may be old; omitted if false.
	Stale bool `json:"stale,omitempty"`
}

// TaskCounts is how many tasks of a job there are, and how many are in each state: 0 to 10,000,000. The states add up to
// the total.
type TaskCounts struct {
	Total uint32 `json:"total"`
	// Blocked tasks wait for other jobs, Scheduled ones for a time, Pending ones for a worker.
	Blocked   uint32 `json:"blocked"`
	Scheduled uint32 `json:"scheduled"`
	Pending   uint32 `json:"pending"`
	// Assigned tasks are with a worker. Stopping ones are too, and were asked to end.
	Assigned  uint32 `json:"assigned"`
	Stopping  uint32 `json:"stopping"`
	Succeeded uint32 `json:"succeeded"`
	Failed    uint32 `json:"failed"`
	Cancelled uint32 `json:"cancelled"`
	// Running is how many of the assigned tasks their workers have started; omitted if 0, and in lists.
	Running uint32 `json:"running,omitempty"`
	// Retrying is how many tasks had an attempt that failed and are tried again; omitted if 0.
	Retrying uint32 `json:"retrying,omitempty"`
}

// Failure is an attempt at one of a job's tasks.
type Failure struct {
	// Task is the index of the task in its job, from 0 on.
	Task uint32 `json:"task"`
	TaskAttempt
}

// Submitted is a job that submit or job retry has made.
type Submitted struct {
	ID uint64 `json:"id"`
	// Existed: an earlier request with the same key has made the job.
	Existed bool `json:"existed"`
}

// Cancelled is what job cancel has done to a job, or to one of its tasks.
type Cancelled struct {
	// ID is that of the job.
	ID uint64 `json:"id"`
	// Cancelled is how many tasks no worker held: they have ended, or end within seconds if the job has thousands.
	Cancelled uint32 `json:"cancelled"`
	// Stopping is how many tasks workers hold, who were asked to stop them.
	Stopping uint32 `json:"stopping"`
}

// SetSpec sets the fields that say how the job was submitted.
func (j *Job) SetSpec(s *task.Spec) {
	j.Name, j.Queue, j.Handler, j.Command, j.Cwd = s.Name, s.Queue, s.Handler, s.Command, s.Cwd
	j.Env, j.Require, j.Meta = Map(s.Env), Map(s.Require), Map(s.Meta)
	j.Stdout = ""
	if s.Stdout != task.StdoutEnds {
		j.Stdout = s.StdoutText()
	}
	j.Execution = "parallel"
	if s.Serial {
		j.Execution = "serial"
	}
	j.Alloc, j.MaxParallel, j.Priority, j.MaxAttempts = s.Policy.String(), s.MaxParallel, s.Priority, s.MaxAttempts
	j.TimeoutMS, j.RetentionMS = s.Timeout.Milliseconds(), s.Retention.Milliseconds()
}

// CountsOf returns the numbers of tasks of a job without Running and Retrying.
func CountsOf(total uint32, c *task.Counts) TaskCounts {
	return TaskCounts{
		Total: total, Blocked: c[task.Blocked], Scheduled: c[task.Scheduled], Pending: c[task.Pending],
		Assigned: c[task.Assigned], Stopping: c[task.Stopping],
		Succeeded: c[task.Succeeded], Failed: c[task.Failed], Cancelled: c[task.Cancelled],
	}
}

// List returns a list as the format has it: [] and not null if it is empty.
func List[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// Map returns pairs as a map; nil if there are none.
func Map(pairs []task.Pair) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		m[p.Key] = p.Value
	}
	return m
}

// Time returns a time as the format has it; nil, which is null, for the zero time.
func Time(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
