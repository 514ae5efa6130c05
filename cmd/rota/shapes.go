package main

import (
	"encoding/base64"
	"time"
	"unicode/utf8"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// The shapes of JSON output. Scripts rely on them: fields are added, never renamed
// or removed.

type jobShape struct {
	ID     uint64      `json:"id"`
	Name   string      `json:"name"`
	Queue  string      `json:"queue"`
	State  string      `json:"state"`
	Reason string      `json:"reason"`
	Tasks  countsShape `json:"tasks"`

	Handler string            `json:"handler,omitempty"`
	Command []string          `json:"command,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	Cwd     string            `json:"cwd,omitempty"`
	// Stdout is as --stdout has it; only where it is not the default.
	Stdout      string            `json:"stdout,omitempty"`
	Execution   string            `json:"execution"`
	Alloc       string            `json:"alloc"`
	MaxParallel uint32            `json:"max_parallel"`
	Priority    int32             `json:"priority"`
	MaxAttempts uint32            `json:"max_attempts"`
	TimeoutMS   int64             `json:"timeout_ms,omitempty"`
	RetentionMS int64             `json:"retention_ms,omitempty"`
	Require     map[string]string `json:"require,omitempty"`
	Meta        map[string]string `json:"meta,omitempty"`

	SubmittedAt *time.Time `json:"submitted_at"`
	StartedAt   *time.Time `json:"started_at"`
	FinishedAt  *time.Time `json:"finished_at"`
	StartsAt    *time.Time `json:"starts_at,omitempty"`
	RetryOf     uint64     `json:"retry_of,omitempty"`
	// Missing is why no connected worker can run its tasks.
	Missing []string `json:"missing,omitempty"`
	// LastFailure is of a job whose tasks are tried again.
	LastFailure  *failureShape `json:"last_failure,omitempty"`
	Key          string        `json:"key,omitempty"`
	Open         bool          `json:"open,omitempty"`
	Cancelling   bool          `json:"cancelling,omitempty"`
	AppliedIndex uint64        `json:"applied_index"`
	Stale        bool          `json:"stale,omitempty"`
}

type countsShape struct {
	Total     uint32 `json:"total"`
	Blocked   uint32 `json:"blocked"`
	Scheduled uint32 `json:"scheduled"`
	Pending   uint32 `json:"pending"`
	Assigned  uint32 `json:"assigned"`
	Stopping  uint32 `json:"stopping"`
	Succeeded uint32 `json:"succeeded"`
	Failed    uint32 `json:"failed"`
	Cancelled uint32 `json:"cancelled"`
	Running   uint32 `json:"running,omitempty"`
	Retrying  uint32 `json:"retrying,omitempty"`
}

// failureShape is an attempt at one of a job's tasks.
type failureShape struct {
	Task uint32 `json:"task"`
	attemptShape
}

func shapeJob(j client.JobInfo) jobShape {
	c := j.Counts
	s := jobShape{
		ID: j.ID, Name: j.Spec.Name, Queue: j.Spec.Queue, State: j.State.String(), Reason: j.Reason.String(),
		Tasks: countsShape{
			Total: j.Total, Blocked: c[task.Blocked], Scheduled: c[task.Scheduled], Pending: c[task.Pending],
			Assigned: c[task.Assigned], Stopping: c[task.Stopping], Succeeded: c[task.Succeeded],
			Failed: c[task.Failed], Cancelled: c[task.Cancelled], Running: j.Running, Retrying: j.Retrying,
		},
		Handler: j.Spec.Handler, Command: j.Spec.Command, Env: pairMap(j.Spec.Env), Cwd: j.Spec.Cwd,
		Execution: "parallel", Alloc: policyName(j.Spec.Policy), MaxParallel: j.Spec.MaxParallel, Priority: j.Spec.Priority,
		MaxAttempts: j.Spec.MaxAttempts, TimeoutMS: j.Spec.Timeout.Milliseconds(), RetentionMS: j.Spec.Retention.Milliseconds(),
		Require: pairMap(j.Spec.Require), Meta: pairMap(j.Spec.Meta),
		SubmittedAt: momentShape(j.SubmittedAt), StartedAt: momentShape(j.StartedAt), FinishedAt: momentShape(j.FinishedAt),
		RetryOf: j.RetryOf, Key: j.Key, Open: j.Open, Cancelling: j.Cancelling, AppliedIndex: j.AppliedIndex, Stale: j.Stale,
	}
	s.StartsAt, s.Missing = momentShape(j.StartsAt), j.Missing
	if x := j.LastFailure; x != nil {
		s.LastFailure = &failureShape{x.Index, shapeAttempt(x)}
	}
	if j.Spec.Stdout != task.StdoutEnds {
		s.Stdout = j.Spec.StdoutText()
	}
	if j.Spec.Serial {
		s.Execution = "serial"
	}
	return s
}

func pairMap(pairs []task.Pair) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		m[p.Key] = p.Value
	}
	return m
}

func momentShape(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// taskShape is one task that is looked at.
type taskShape struct {
	Job       uint64     `json:"job"`
	Task      uint32     `json:"task"`
	State     string     `json:"state"`
	Reason    string     `json:"reason"`
	Attempt   uint32     `json:"attempt"`
	Token     uint64     `json:"token"`
	Worker    string     `json:"worker"`
	RunMS     int64      `json:"run_ms,omitempty"`
	NotBefore *time.Time `json:"not_before,omitempty"`
	Value     uint32     `json:"value"`
	inputShape
	InputBytes uint32         `json:"input_bytes"`
	RetryOf    *taskIDShape   `json:"retry_of,omitempty"`
	Attempts   []attemptShape `json:"attempts,omitempty"`
}

// inputShape is how a payload begins: text; what is not UTF-8 stands in InputBase64, and Input is empty.
type inputShape struct {
	Input       string `json:"input,omitempty"`
	InputBase64 string `json:"input_base64,omitempty"`
}

func shapeInput(input []byte, cut bool) inputShape {
	if text := string(input); cut && utf8.ValidString(wholeRunes(text)) {
		return inputShape{Input: wholeRunes(text)}
	} else if utf8.ValidString(text) {
		return inputShape{Input: text}
	}
	return inputShape{InputBase64: base64.StdEncoding.EncodeToString(input)}
}

// taskIDShape names a task of another job.
type taskIDShape struct {
	Job  uint64 `json:"job"`
	Task uint32 `json:"task"`
}

func shapeTaskID(id task.ID) *taskIDShape {
	if id == (task.ID{}) {
		return nil
	}
	return &taskIDShape{id.Job, id.Index}
}

// attemptShape is one attempt of a task that has ended.
type attemptShape struct {
	Attempt uint32 `json:"attempt"`
	// State is "" where the task was tried again.
	State     string     `json:"state"`
	Reason    string     `json:"reason"`
	Worker    string     `json:"worker"`
	Token     uint64     `json:"token"`
	ExitCode  *int       `json:"exit_code"`
	Error     string     `json:"error,omitempty"`
	Stderr    string     `json:"stderr,omitempty"`
	GrantedAt *time.Time `json:"granted_at"`
	EndedAt   *time.Time `json:"ended_at"`
	usageShape
}

// usageShape is what a command has used; it has no fields where that is not known.
type usageShape struct {
	PeakMemoryBytes uint64 `json:"peak_memory_bytes,omitempty"`
	CPUMS           int64  `json:"cpu_ms,omitempty"`
}

func shapeAttempt(x *client.AttemptInfo) attemptShape {
	s := attemptShape{
		Attempt: x.Attempt, Reason: x.Reason.String(), Worker: x.Worker, Token: x.Token, ExitCode: x.ExitCode, Error: x.Error,
		Stderr: task.Legible(string(x.Stderr)), GrantedAt: momentShape(x.GrantedAt), EndedAt: momentShape(x.EndedAt), usageShape: shapeUsage(x.Usage),
	}
	if x.State != 0 {
		s.State = x.State.String()
	}
	return s
}

func shapeUsage(u task.Usage) usageShape { return usageShape{u.PeakMemory, u.CPUTime.Milliseconds()} }

// taskState is the state of a task, or that it runs, which only its worker and the leader know.
func taskState(t client.TaskInfo) string {
	if t.Running {
		return "running"
	}
	return t.State.String()
}

func shapeTask(job uint64, t client.TaskInfo) taskShape {
	s := taskShape{
		Job: job, Task: t.Index, State: taskState(t), Reason: t.Reason.String(), Attempt: t.Attempt, Token: t.Token,
		Worker: t.Worker, RunMS: t.RunTime.Milliseconds(), NotBefore: momentShape(t.NotBefore),
		Value: t.Value, inputShape: shapeInput(t.Input, len(t.Input) < int(t.InputBytes)), InputBytes: t.InputBytes, RetryOf: shapeTaskID(t.RetryOf),
	}
	for i := range t.Attempts {
		s.Attempts = append(s.Attempts, shapeAttempt(&t.Attempts[i]))
	}
	return s
}

// resultShape is how one task ended.
type resultShape struct {
	Job     uint64 `json:"job"`
	Task    uint32 `json:"task"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
	Attempt uint32 `json:"attempt"`
	Token   uint64 `json:"token"`
	Worker  string `json:"worker"`
	// ExitCode is null where no command ended by itself.
	ExitCode *int `json:"exit_code"`
	// Output is text; what is not UTF-8 stands in OutputBase64, and Output is empty.
	Output       string `json:"output"`
	OutputBase64 string `json:"output_base64,omitempty"`
	// OutputMissing is how many bytes were not kept, behind the first OutputHead bytes of the output.
	OutputMissing uint64 `json:"output_missing,omitempty"`
	OutputHead    int    `json:"output_head,omitempty"`
	Error         string `json:"error,omitempty"`
	// Stderr is for people: what is not UTF-8 stands there as escapes, and all of it in StderrBase64.
	Stderr       string     `json:"stderr,omitempty"`
	StderrBase64 string     `json:"stderr_base64,omitempty"`
	FinishedAt   *time.Time `json:"finished_at"`
	Value        uint32     `json:"value"`
	inputShape
	// InputCut says that there is more of it.
	InputCut bool         `json:"input_cut,omitempty"`
	RetryOf  *taskIDShape `json:"retry_of,omitempty"`
	usageShape
	// Cursor is where --cursor goes on; only of results as they complete.
	Cursor string `json:"cursor,omitempty"`
}

func shapeResult(job uint64, r *client.Result, cursor bool) resultShape {
	s := resultShape{
		Job: job, Task: r.Index, State: r.State.String(), Reason: r.Reason.String(), Attempt: r.Attempt, Token: r.Token,
		Worker: r.Worker, ExitCode: r.ExitCode, Error: r.Error, FinishedAt: momentShape(r.FinishedAt),
		Stderr: task.Legible(string(r.Stderr)), Value: r.Value, inputShape: shapeInput(r.Input, r.InputCut), InputCut: r.InputCut,
		RetryOf: shapeTaskID(r.RetryOf), usageShape: shapeUsage(r.Usage),
		OutputMissing: r.OutputMissing, OutputHead: r.OutputHead,
	}
	if !utf8.Valid(r.Stderr) {
		s.StderrBase64 = base64.StdEncoding.EncodeToString(r.Stderr)
	}
	if utf8.Valid(r.Output) {
		s.Output = string(r.Output)
	} else {
		s.OutputBase64 = base64.StdEncoding.EncodeToString(r.Output)
	}
	if c := r.Cursor(); cursor && c != nil {
		s.Cursor = base64.RawURLEncoding.EncodeToString(c)
	}
	return s
}

// statusShape is cluster status.
type statusShape struct {
	Leader       string        `json:"leader"`
	Term         uint64        `json:"term"`
	Servers      []serverShape `json:"servers"`
	ClusterID    string        `json:"cluster_id"`
	AppliedIndex uint64        `json:"applied_index"`
	Waiting      string        `json:"waiting,omitempty"`
	// ActiveVersion is the active version of the log.
	ActiveVersion uint32 `json:"active_version"`
}

type serverShape struct {
	ID            string `json:"id"`
	Addr          string `json:"addr"`
	PeerAddr      string `json:"peer_addr"`
	HTTPAddr      string `json:"http_addr"`
	State         string `json:"state"`
	Voter         bool   `json:"voter"`
	AppliedIndex  uint64 `json:"applied_index"`
	LastContactMS int64  `json:"last_contact_ms"`
	Version       string `json:"version"`
	Term          uint64 `json:"term"`
	ServerID      string `json:"server_id"`
	Problem       string `json:"problem"`
	// KnowsVersion is the newest version of the log that its build knows; 0: it did not answer.
	KnowsVersion uint32 `json:"knows_version"`
}

func shapeStatus(c client.ClusterInfo) statusShape {
	s := statusShape{Leader: c.Leader, Term: c.Term, ClusterID: c.ID, AppliedIndex: c.AppliedIndex, Waiting: c.Waiting, ActiveVersion: c.ActiveVersion, Servers: []serverShape{}}
	for _, v := range c.Servers {
		s.Servers = append(s.Servers, serverShape{
			ID: v.ID, Addr: v.Addr, PeerAddr: v.PeerAddr, HTTPAddr: v.HTTPAddr, State: v.State, Voter: v.Voter,
			AppliedIndex: v.AppliedIndex, LastContactMS: v.LastContact.Milliseconds(), Version: v.Version,
			Term: v.Term, ServerID: v.ServerID, Problem: v.Problem, KnowsVersion: v.KnowsVersion,
		})
	}
	return s
}

// workerShape is a worker with an open session.
type workerShape struct {
	ID         string             `json:"id"`
	Name       string             `json:"name"`
	Session    uint64             `json:"session"`
	Connected  bool               `json:"connected"`
	Unhealthy  string             `json:"unhealthy"`
	Draining   bool               `json:"draining"`
	Slots      uint32             `json:"slots"`
	Assigned   uint32             `json:"assigned"`
	Running    uint32             `json:"running"`
	Labels     map[string]string  `json:"labels"`
	Queues     []string           `json:"queues"`
	Handlers   []string           `json:"handlers"`
	Commands   bool               `json:"commands"`
	Version    string             `json:"version"`
	OpenedAt   *time.Time         `json:"opened_at"`
	LastBeatMS int64              `json:"last_beat_ms"`
	Tasks      []runningTaskShape `json:"tasks"`
}

type runningTaskShape struct {
	Job   uint64 `json:"job"`
	Task  uint32 `json:"task"`
	RunMS int64  `json:"run_ms"`
}

func shapeWorker(w client.WorkerInfo) workerShape {
	s := workerShape{
		ID: w.ID, Name: w.Name, Session: w.SessionID, Connected: w.Connected,
		Unhealthy: w.Unhealthy, Draining: w.Draining, Slots: w.Slots, Assigned: w.Assigned,
		Running: w.Running, Labels: w.Labels, Queues: orEmpty(w.Queues), Handlers: orEmpty(w.Handlers), Commands: w.Commands,
		Version: w.Version, OpenedAt: momentShape(w.OpenedAt), LastBeatMS: w.LastBeat.Milliseconds(), Tasks: []runningTaskShape{},
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	for _, t := range w.Tasks {
		s.Tasks = append(s.Tasks, runningTaskShape{Job: t.ID.Job, Task: t.ID.Index, RunMS: t.RunTime.Milliseconds()})
	}
	return s
}

// leaderShape is cluster transfer-leader.
type leaderShape struct {
	Leader string `json:"leader"`
	Term   uint64 `json:"term"`
}

// verifyShape is cluster verify.
type verifyShape struct {
	OK      bool          `json:"ok"`
	Index   uint64        `json:"index"`
	Servers []digestShape `json:"servers"`
}

type digestShape struct {
	ID         string   `json:"id"`
	Index      uint64   `json:"index"`
	Digest     string   `json:"digest"`
	Error      string   `json:"error,omitempty"`
	Violations []string `json:"violations,omitempty"`
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
