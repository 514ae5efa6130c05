package jsonv1

import (
	"encoding/base64"
	"time"
	"unicode/utf8"

	"github.com/rota-scheduler/rota/task"
)

// Task is one task of a job: what job get ID.TASK prints.
type Task struct {
	Job uint64 `json:"job"`
	// Task is its index in the job, from 0 on.
	Task uint32 `json:"task"`
	// State is blocked, scheduled, pending, assigned, stopping, succeeded, failed or cancelled, where the last three are
	// final; or running, if its worker has started it.
	State string `json:"state"`
	// Reason is why it failed or was cancelled, or is asked to stop: the values of Job.Reason; "" if there is none.
	Reason string `json:"reason"`
	// Attempt is the newest one, from 1 on; 0: the task was never assigned.
	Attempt uint32 `json:"attempt"`
	// Token is the fencing token of the newest attempt; 0: the task was never assigned.
	Token uint64 `json:"token"`
	// Worker is the name of the worker of the newest attempt, its id if it has no name; "": the task was never assigned.
	Worker string `json:"worker"`
	// RunMS is how long the task had run when its worker last said so, milliseconds; omitted if 0 or not known.
	RunMS int64 `json:"run_ms,omitempty"`
	// NotBefore is the earliest start of the next attempt; omitted if the task does not wait for a time.
	NotBefore *time.Time `json:"not_before,omitempty"`
	// Value is what --array gives to the task; without an array its index.
	Value uint32 `json:"value"`
	TaskInput
	// InputBytes is the size of its whole payload, bytes.
	InputBytes uint32 `json:"input_bytes"`
	// RetryOf is which task of another job this one retries; omitted if it retries none or that is not known.
	RetryOf *TaskID `json:"retry_of,omitempty"`
	// Attempts are those that have ended, in order: the ten newest that did not end the task, and the one that did;
	// omitted if none has ended.
	Attempts []TaskAttempt `json:"attempts,omitempty"`
}

// TaskInput is how the payload of a task begins, 128 bytes at most. At most one of its fields is there.
type TaskInput struct {
	// Input is it as text, without a character that the limit cuts; omitted if it is empty or not UTF-8.
	Input string `json:"input,omitempty"`
	// InputBase64 is it in base64; omitted if it is UTF-8.
	InputBase64 string `json:"input_base64,omitempty"`
}

// TaskID names a task of another job.
type TaskID struct {
	Job uint64 `json:"job"`
	// Task is the index of the task in that job, from 0 on.
	Task uint32 `json:"task"`
}

// TaskAttempt is one attempt of a task that has ended.
type TaskAttempt struct {
	// Attempt counts from 1.
	Attempt uint32 `json:"attempt"`
	// State is the final state that the attempt gave the task: succeeded, failed or cancelled; "" if the task was tried
	// again.
	State string `json:"state"`
	// Reason is why the attempt failed: the values of Job.Reason; "" if it succeeded, or if its worker was stopped.
	Reason string `json:"reason"`
	// Worker is the name of its worker, the id if it has no name.
	Worker string `json:"worker"`
	// Token is its fencing token.
	Token uint64 `json:"token"`
	// ExitCode is the exit code of the command; null if no command ended by itself.
	ExitCode *int `json:"exit_code"`
	// Error says what went wrong, in words for people; omitted if there is nothing to say.
	Error string `json:"error,omitempty"`
	// Stderr is the end of the command's standard error, 8 KiB at most (64 KiB of the attempt that ended the task), with
	// escapes for bytes that are not UTF-8; omitted if it is empty.
	Stderr string `json:"stderr,omitempty"`
	// StderrMissing is how many bytes of the standard error stood before that and were not kept; omitted if none, or not known.
	StderrMissing uint64 `json:"stderr_missing,omitempty"`
	// GrantedAt is when its worker got it; null if that is not known.
	GrantedAt *time.Time `json:"granted_at"`
	// EndedAt is when its end was recorded.
	EndedAt *time.Time `json:"ended_at"`
	Usage
}

// Usage is what a command has used. Both fields are omitted if that is not known, as for handlers.
type Usage struct {
	// PeakMemoryBytes is the most memory that one of its processes had resident, bytes; omitted if not known.
	PeakMemoryBytes uint64 `json:"peak_memory_bytes,omitempty"`
	// CPUMS is the CPU time of all its processes, milliseconds; omitted if it is less than 1 or not known.
	CPUMS int64 `json:"cpu_ms,omitempty"`
}

// Result is how one task ended: what run, map, submit --as-completed and job results print.
type Result struct {
	Job uint64 `json:"job"`
	// Task is its index in the job, from 0 on.
	Task uint32 `json:"task"`
	// State is succeeded, failed or cancelled.
	State string `json:"state"`
	// Reason is why it failed or was cancelled: the values of Job.Reason; "" if it succeeded.
	Reason string `json:"reason"`
	// Attempt is the one that ended it, from 1 on; 0: the task was never assigned.
	Attempt uint32 `json:"attempt"`
	// Token is the fencing token of that attempt; 0: the task was never assigned.
	Token uint64 `json:"token"`
	// Worker is the name of its worker, the id if it has no name; "": the task was never assigned.
	Worker string `json:"worker"`
	// ExitCode is the exit code of the command; null if no command ended by itself.
	ExitCode *int `json:"exit_code"`
	// Output is what the handler returned or the command printed, 256 KiB at most; "" if it is not UTF-8.
	Output string `json:"output"`
	// OutputBase64 is the output in base64; omitted if it is UTF-8.
	OutputBase64 string `json:"output_base64,omitempty"`
	// OutputMissing is how many bytes the command printed that were not kept; omitted if all were kept.
	OutputMissing uint64 `json:"output_missing,omitempty"`
	// OutputHead is where they are missing: behind so many bytes of the output; omitted if all were kept.
	OutputHead int `json:"output_head,omitempty"`
	// Error says what went wrong, in words for people; omitted if there is nothing to say.
	Error string `json:"error,omitempty"`
	// Stderr is the end of the command's standard error, 64 KiB at most, with escapes for bytes that are not UTF-8; omitted
	// if it is empty.
	Stderr string `json:"stderr,omitempty"`
	// StderrBase64 is the same bytes in base64; omitted if they are UTF-8.
	StderrBase64 string `json:"stderr_base64,omitempty"`
	// StderrMissing is how many bytes of the standard error stood before that and were not kept; omitted if none, or not known.
	StderrMissing uint64     `json:"stderr_missing,omitempty"`
	FinishedAt    *time.Time `json:"finished_at"`
	// Value is what --array gives to the task; without an array its index.
	Value uint32 `json:"value"`
	TaskInput
	// InputCut: the payload is longer than what is there of it; omitted if false.
	InputCut bool `json:"input_cut,omitempty"`
	// RetryOf is which task of another job this one retries; omitted if it retries none or that is not known.
	RetryOf *TaskID `json:"retry_of,omitempty"`
	Usage
	// Cursor is what --cursor continues after. It has no meaning of its own. Omitted unless results are printed as they
	// complete.
	Cursor string `json:"cursor,omitempty"`
}

// InputOf returns the beginning of a payload as the format has it. cut says that the payload has more.
func InputOf(payload []byte, cut bool) TaskInput {
	text := string(payload)
	if whole := task.WholeRunes(text); cut && utf8.ValidString(whole) {
		return TaskInput{Input: whole}
	}
	if utf8.ValidString(text) {
		return TaskInput{Input: text}
	}
	return TaskInput{InputBase64: base64.StdEncoding.EncodeToString(payload)}
}

// TaskIDOf returns the name of a task; nil for the zero id.
func TaskIDOf(id task.ID) *TaskID {
	if id == (task.ID{}) {
		return nil
	}
	return &TaskID{id.Job, id.Index}
}

// UsageOf returns what a command has used as the format has it.
func UsageOf(u task.Usage) Usage { return Usage{u.PeakMemory, u.CPUTime.Milliseconds()} }

// SetOutput sets Output or OutputBase64.
func (r *Result) SetOutput(output []byte) {
	r.Output, r.OutputBase64 = "", ""
	if utf8.Valid(output) {
		r.Output = string(output)
	} else {
		r.OutputBase64 = base64.StdEncoding.EncodeToString(output)
	}
}

// SetStderr sets Stderr, and StderrBase64 if it is not UTF-8.
func (r *Result) SetStderr(stderr []byte) {
	r.Stderr, r.StderrBase64 = task.Legible(string(stderr)), ""
	if !utf8.Valid(stderr) {
		r.StderrBase64 = base64.StdEncoding.EncodeToString(stderr)
	}
}
