package client

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// JobInfo is what the servers know of a job.
type JobInfo struct {
	ID   uint64
	Spec task.Spec
	// State is derived from the states of the tasks; State.Final says that it is over.
	State task.JobState
	// Reason says why the job failed or was cancelled.
	Reason task.Reason
	// Total is the number of tasks, Counts how many of them are in each state.
	Total  uint32
	Counts task.Counts
	// Running is how many of the assigned tasks had started at the last beats of their workers.
	// Only Job.Info sets it.
	Running uint32
	// SubmittedAt, StartedAt and FinishedAt are zero until it has happened.
	SubmittedAt, StartedAt, FinishedAt time.Time
	// StartsAt is the earliest start of its tasks; zero: at once.
	StartsAt time.Time
	// Retrying is how many of its tasks had an attempt that failed and are tried again.
	Retrying uint32
	// LastFailure is an attempt that did not end its task: the newest of those with the highest number;
	// nil: no task is tried again. Only Job.Info sets it.
	LastFailure *AttemptInfo
	// Missing is why no connected worker can run its tasks; none: some can, or nothing waits.
	// Only Job.Info sets it.
	Missing []string
	// RetryOf is the job that this one retries; 0: none.
	RetryOf uint64
	// Key is the request key that made it.
	Key string
	// Open: more tasks may be appended.
	Open bool
	// Cancelling: a cancel was asked for.
	Cancelling bool
	// AppliedIndex is the log index that the answer was read at.
	AppliedIndex uint64
	// Stale: the leader was not asked, so the answer may be old.
	Stale bool
}

// TaskInfo is what the servers know of one task.
type TaskInfo struct {
	Index uint32
	State task.State
	// Reason says why a final task ended as it did.
	Reason task.Reason
	// Attempt counts from 1; 0: never assigned.
	Attempt uint32
	// Token is the fencing token of the newest assignment; 0: never assigned.
	Token uint64
	// Worker is the name of the worker of the newest assignment, its id if it has none.
	Worker string
	// NotBefore is when it may start, where it waits for a moment.
	NotBefore time.Time
	// Running says that its worker has started it, RunTime how long it had run when the
	// worker last said so.
	Running bool
	RunTime time.Duration
	// Value is what an array job gives to it; without an array, its index.
	Value uint32
	// Input is the beginning of its payload, task.MaxInput bytes at most, of InputBytes.
	Input      []byte
	InputBytes uint32
	// RetryOf is which task it was in the job that its job retries; zero: it retries none, or that is
	// not known.
	RetryOf task.ID
	// Attempts is the attempts that have ended, as far as they are kept, in order.
	Attempts []AttemptInfo
}

// AttemptInfo is one attempt of a task that has ended.
type AttemptInfo struct {
	Index, Attempt uint32
	// State is the final state that the attempt gave the task; 0: the task was tried again.
	State task.State
	// Reason is why it failed; task.NoReason of a task that was tried again: its worker was stopped.
	Reason task.Reason
	// ExitCode is the exit code of a command; nil if no command ended by itself.
	ExitCode *int
	// Error says what went wrong, for people, and Stderr is the end of the command's standard error.
	Error  string
	Stderr []byte
	// StderrMissing is how many bytes of it stood before that and were not kept; 0: none, or not known.
	StderrMissing uint64
	// Worker is the name of its worker, the id if it has none.
	Worker string
	Token  uint64
	// GrantedAt is when its worker got it; zero: not known. EndedAt is when its end was recorded.
	GrantedAt, EndedAt time.Time
	// Usage is what its command has used.
	Usage task.Usage
}

// CancelInfo is what a cancel did. A cancel that is sent again because its answer was lost
// counts what was left to do then.
type CancelInfo struct {
	// Cancelled counts the tasks that no worker held: they have ended, or end within seconds if a
	// job has thousands. Stopping counts the tasks that run and are asked to stop.
	Cancelled, Stopping uint32
}

// WorkerInfo is a worker with an open session.
type WorkerInfo struct {
	// ID is random and its own; Name is a label for people.
	ID, Name  string
	SessionID uint64
	// Slots is how many tasks it runs at once, Assigned how many it holds, Running
	// how many of them it has started.
	Slots, Assigned, Running uint32
	Labels                   map[string]string
	Handlers                 []string
	// Commands: it runs programs.
	Commands bool
	// Queues that it serves; empty: all.
	Queues   []string
	Version  string
	OpenedAt time.Time
	// LastBeat is the time since its last beat.
	LastBeat time.Duration
	// Connected: it has a stream to the leader.
	Connected bool
	// Unhealthy is why it cannot start any task; "": it can. Draining: it is about to end. In both
	// cases it gets no tasks.
	Unhealthy string
	Draining  bool
	Tasks     []RunningTask
}

// RunningTask is a task that its worker has started.
type RunningTask struct {
	ID      task.ID
	RunTime time.Duration
}

func jobInfo(p *rotav1.Job) (JobInfo, error) {
	if p == nil {
		return JobInfo{}, task.Errorf(task.KindInternal, "the server's answer has no job")
	}
	spec, err := wire.SpecFromProto(p.GetSpec())
	if err != nil {
		return JobInfo{}, err
	}
	state, err := wire.JobStateFromProto(p.GetState())
	if err != nil {
		return JobInfo{}, err
	}
	counts := p.GetTasks()
	spec.Retried = wire.RangesFromProto(p.GetRetried())
	var last *AttemptInfo
	if p.GetLastFailure() != nil {
		a := attemptInfo(p.GetLastFailure())
		last = &a
	}
	return JobInfo{
		ID: p.GetId(), Spec: spec, State: state, Reason: reason(p.GetReason()), Total: counts.GetTotal(), Running: counts.GetRunning(),
		Counts: task.Counts{
			task.Blocked: counts.GetBlocked(), task.Scheduled: counts.GetScheduled(), task.Pending: counts.GetPending(),
			task.Assigned: counts.GetAssigned(), task.Stopping: counts.GetStopping(),
			task.Succeeded: counts.GetSucceeded(), task.Failed: counts.GetFailed(), task.Cancelled: counts.GetCancelled(),
		},
		SubmittedAt: moment(p.GetSubmittedAt()), StartedAt: moment(p.GetStartedAt()), FinishedAt: moment(p.GetFinishedAt()),
		StartsAt: moment(p.GetStartsAt()), Retrying: counts.GetRetrying(), LastFailure: last, Missing: p.GetMissing(),
		RetryOf: p.GetRetryOf(), Key: p.GetRequestKey(), Open: p.GetOpen(), Cancelling: p.GetCancelling(),
	}, nil
}

func taskInfo(p *rotav1.Task) (TaskInfo, error) {
	state, err := wire.StateFromProto(p.GetState())
	if err != nil {
		return TaskInfo{}, err
	}
	t := TaskInfo{
		Index: p.GetIndex(), Value: p.GetValue(), Input: p.GetInput(), InputBytes: p.GetInputBytes(), State: state, Reason: reason(p.GetReason()), Attempt: p.GetAttempt(),
		Token: p.GetToken(), Worker: p.GetWorker(), NotBefore: moment(p.GetNotBefore()),
		Running: p.GetRunTime() != nil, RunTime: p.GetRunTime().AsDuration(),
	}
	for _, a := range p.GetAttempts() {
		t.Attempts = append(t.Attempts, attemptInfo(a))
	}
	return t, nil
}

func attemptInfo(p *rotav1.TaskAttempt) AttemptInfo {
	state, _ := wire.StateFromProto(p.GetState()) // unset: it was tried again
	a := AttemptInfo{
		Index: p.GetIndex(), Attempt: p.GetAttempt(), State: state, Reason: reason(p.GetReason()), Error: p.GetError(), Stderr: p.GetStderrTail(), StderrMissing: p.GetStderrMissing(),
		Worker: p.GetWorker(), Token: p.GetToken(), GrantedAt: moment(p.GetGrantedAt()), EndedAt: moment(p.GetEndedAt()),
		Usage: task.Usage{PeakMemory: p.GetPeakMemoryBytes(), CPUTime: p.GetCpuTime().AsDuration()},
	}
	if p.ExitCode != nil {
		code := int(p.GetExitCode())
		a.ExitCode = &code
	}
	return a
}

func workerInfo(p *rotav1.Worker) WorkerInfo {
	w := WorkerInfo{
		ID: p.GetId(), Name: p.GetName(), SessionID: p.GetSessionId(), Slots: p.GetSlots(), Assigned: p.GetAssigned(),
		Running: p.GetRunning(), Labels: p.GetLabels(), Handlers: p.GetHandlers(), Commands: p.GetCommands(),
		Queues: p.GetQueues(), Version: p.GetVersion(), OpenedAt: moment(p.GetOpenedAt()),
		LastBeat: p.GetLastBeat().AsDuration(), Connected: p.GetConnected(),
		Unhealthy: p.GetState().GetUnhealthy(), Draining: p.GetState().GetDraining(),
	}
	for _, t := range p.GetRunningTasks() {
		w.Tasks = append(w.Tasks, RunningTask{ID: task.ID{Job: t.GetJobId(), Index: t.GetIndex()}, RunTime: t.GetRunTime().AsDuration()})
	}
	return w
}

// reason keeps reasons that only newer servers know: they are for people and
// logs, and an unknown reason must not hide a result.
func reason(p rotav1.Reason) task.Reason {
	if p < 0 || p > 0xff {
		return task.ReasonError
	}
	return task.Reason(p)
}

func moment(p *timestamppb.Timestamp) time.Time {
	if p == nil {
		return time.Time{}
	}
	return p.AsTime()
}
