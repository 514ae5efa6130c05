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
	// Running is how many of those assigned were started, by the last beats of their
	// workers. Only Job.Info tells.
	Running uint32
	// SubmittedAt, StartedAt and FinishedAt are zero for what has not happened yet.
	SubmittedAt, StartedAt, FinishedAt time.Time
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
	// Stale: the leader was not asked, so there may be newer news.
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
	// Worker is the name of the worker of the newest assignment, its id where it has none.
	Worker string
	// NotBefore is when it may start, where it waits for a moment.
	NotBefore time.Time
	// Running says that its worker has started it, RunTime how long it had run when the
	// worker last told.
	Running bool
	RunTime time.Duration
}

// CancelInfo is what a cancel did. Sent again after an answer that was lost, it
// counts what was left to do then.
type CancelInfo struct {
	// Cancelled tasks are those that nobody had: they have ended, or do so within seconds where a job has
	// thousands. Stopping ones run and are asked to stop.
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
	// Unhealthy is why it cannot start any task; "": it can. Draining: it is about to end. It gets
	// no tasks in either case.
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
	return JobInfo{
		ID: p.GetId(), Spec: spec, State: state, Reason: reason(p.GetReason()), Total: counts.GetTotal(), Running: counts.GetRunning(),
		Counts: task.Counts{
			task.Blocked: counts.GetBlocked(), task.Scheduled: counts.GetScheduled(), task.Pending: counts.GetPending(),
			task.Assigned: counts.GetAssigned(), task.Stopping: counts.GetStopping(),
			task.Succeeded: counts.GetSucceeded(), task.Failed: counts.GetFailed(), task.Cancelled: counts.GetCancelled(),
		},
		SubmittedAt: moment(p.GetSubmittedAt()), StartedAt: moment(p.GetStartedAt()), FinishedAt: moment(p.GetFinishedAt()),
		RetryOf: p.GetRetryOf(), Key: p.GetRequestKey(), Open: p.GetOpen(), Cancelling: p.GetCancelling(),
	}, nil
}

func taskInfo(p *rotav1.Task) (TaskInfo, error) {
	state, err := wire.StateFromProto(p.GetState())
	if err != nil {
		return TaskInfo{}, err
	}
	return TaskInfo{
		Index: p.GetIndex(), State: state, Reason: reason(p.GetReason()), Attempt: p.GetAttempt(),
		Token: p.GetToken(), Worker: p.GetWorker(), NotBefore: moment(p.GetNotBefore()),
		Running: p.GetRunTime() != nil, RunTime: p.GetRunTime().AsDuration(),
	}, nil
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

// reason keeps reasons that newer servers know: they are for people and for
// logs, and an unknown one must not hide a result.
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
