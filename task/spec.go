package task

import "time"

// Spec is everything of a job except its tasks. The zero value is not valid: it names no work.
type Spec struct {
	// Name is for people.
	Name  string
	Queue string

	// Handler is the Go function that workers registered under this name; or
	// Command is a program and its arguments. Exactly one is set.
	Handler string
	Command []string
	// Env is added to the environment of Command.
	Env []Pair
	// Cwd is the working directory of Command; empty: a fresh temporary folder.
	Cwd string
	// Placeholder is replaced by the payload in the arguments of Command.
	Placeholder string
	// Stdout says what to do with the standard output of Command. StdoutPath is its file, if it
	// goes to one: relative to Cwd, with names in braces (see FillStdoutPath).
	Stdout     Stdout
	StdoutPath string

	Policy Policy
	// Serial runs the tasks in index order, one at a time.
	Serial bool
	// MaxParallel is the most tasks that may be assigned at once; 0: no limit.
	MaxParallel uint32
	Priority    int32
	// MaxAttempts is how often a task may fail before it is final.
	MaxAttempts uint32
	// Timeout is the longest run of an attempt; 0: no limit.
	Timeout time.Duration
	// Delay and NotBefore (Unix ns) set the earliest start; at most one is set.
	Delay     time.Duration
	NotBefore int64
	// Expire cancels tasks that have not started this long after the submit; 0: never.
	Expire time.Duration
	// Require is labels that a worker must have.
	Require []Pair
	Meta    []Pair
	// Retention is how long the finished job is kept; 0: the default.
	Retention time.Duration
	// Values are the values of the tasks, run by run; none: the value is the index.
	Values []ValueRun
	// Retried is the indexes that the tasks had in the job that this one retries, run by run; none: it
	// retries none. Servers set it.
	Retried []Range
	// SharedPayload is the payload of each task that has none of its own.
	SharedPayload []byte
}

// ValueRun is the values First, First+Step, ... of Count tasks.
type ValueRun struct{ First, Step, Count uint32 }

// Pair is a key and its value. Specs keep maps as sorted pairs, so that equal
// specs have equal bytes.
type Pair struct{ Key, Value string }

// Exclusive says whether a task of the job must never run twice at once.
func (s *Spec) Exclusive() bool { return s.Serial }

// ValueCount is how many tasks Values is for; 0 if it says nothing.
func (s *Spec) ValueCount() uint64 {
	n := uint64(0)
	for _, r := range s.Values {
		n += uint64(r.Count)
	}
	return n
}
