package command

import (
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/rota-scheduler/rota/task"
)

// Work is what the tasks of one assignment share. It is not to be copied.
type Work struct {
	// Spec is the work, as the job names it.
	Spec *task.Work

	// Found out once for all tasks: what of the environment they have in common, and where the
	// program is.
	once          sync.Once
	env           []string
	program, path string
	pathErr       error
}

// Task is one attempt of one task. What the fields mean is said at worker.Task.
type Task struct {
	Work                  *Work
	Job, Token            uint64
	Index, Value, Attempt uint32
	Payload               []byte
	// Exclusive says that the command must be dead when Config.Deadline says.
	Exclusive bool
	// Log gets what the command prints, as it is read; nil: nobody does.
	Log Log
}

// Log gets what a command prints. Its methods must not wait for anybody, or the command would. What
// they are given is theirs only until they return.
type Log interface {
	Stdout(data []byte)
	Stderr(data []byte)
}

// named is what stands in the place of a name in the path of a file.
func (t *Task) named(name string) string {
	switch name {
	case "job":
		return strconv.FormatUint(t.Job, 10)
	case "task":
		return strconv.FormatUint(uint64(t.Index), 10)
	case "value":
		return strconv.FormatUint(uint64(t.Value), 10)
	default: // attempt: others are refused
		return strconv.FormatUint(uint64(t.Attempt), 10)
	}
}

// End is how a command has ended, or why it was not started.
type End int

const (
	// Exited means: by itself, or by a signal that this worker did not send.
	Exited End = iota
	// Stopped means: because its context has ended.
	Stopped
	// Expired means: because the deadline of exclusive work has passed.
	Expired
	// Lost means: with the process that watched over it, which somebody has killed.
	Lost
	// Failed means: it could not be started, or its output could not be kept. Another worker, or a later
	// attempt, may do better.
	Failed
	// FailedForGood is Failed where that would be the same again.
	FailedForGood
)

// Result is what became of a command.
type Result struct {
	End End
	// Exit is the exit code of a command that has Exited; 128 and its number for a signal, as in
	// shells.
	Exit int32
	// Err says why, for people; empty: it is a success, or End says all.
	Err string
	// Output is the standard output. Missing is how many bytes of it were not kept, behind its first
	// Head bytes. It is valid until the slot runs the next command.
	Output  []byte
	Missing uint64
	Head    uint32
	// Stderr is the end of the standard error, and StderrMissing how many bytes stood before it.
	Stderr        []byte
	StderrMissing uint64
	Usage         task.Usage
}

// LastOutput is the end of the output, without a gap, and how much stood before it.
func (r *Result) LastOutput(most int) (end []byte, missing uint64) {
	from := 0
	if r.Missing > 0 {
		from = int(r.Head)
	}
	if cut := len(r.Output) - most; cut > from {
		from = cut + partialRune(r.Output[cut:])
	}
	return r.Output[from:], r.Missing + uint64(from)
}

// partialRune is how many bytes at the beginning of a text that was cut belong to a character that is
// not there whole.
func partialRune(b []byte) int {
	for i := range min(utf8.UTFMax, len(b)) {
		if utf8.RuneStart(b[i]) {
			return i
		}
	}
	return 0 // it is no text
}
