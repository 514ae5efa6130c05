package task

import (
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Policy chooses the worker for a task.
type Policy uint8

// The policies. The numbers are stored and must not change.
const (
	LeastLoaded Policy = 1
	Random      Policy = 2
)

// Spec is all of a job but its tasks. The zero value is not valid: it names no work.
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
	// Stdout is what becomes of the standard output of Command, and StdoutPath its file, where it
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
	// Expire cancels what has not started this long after the submit; 0: never.
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
	Retried []IndexRun
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

// SetDefaults fills in what may be left out.
func (s *Spec) SetDefaults() {
	if s.Queue == "" {
		s.Queue = DefaultQueue
	}
	if s.Policy == 0 {
		s.Policy = LeastLoaded
	}
	if s.MaxAttempts == 0 {
		s.MaxAttempts = DefaultAttempts
	}
}

// Validate returns what is wrong with the spec, as an *Error, or nil.
func (s *Spec) Validate() error {
	if err := s.validateWork(); err != nil {
		return err
	}
	if err := validName("job name", s.Name, true); err != nil {
		return err
	}
	if err := validName("queue", s.Queue, false); err != nil {
		return err
	}
	switch {
	case s.Policy != LeastLoaded && s.Policy != Random:
		return Errorf(KindInvalid, "unknown allocation policy %d: use least-loaded or random", s.Policy)
	case s.Priority < -MaxPriority || s.Priority > MaxPriority:
		return Errorf(KindInvalid, "priority %d is out of range: use -%d to %d", s.Priority, MaxPriority, MaxPriority)
	case s.MaxAttempts < 1 || s.MaxAttempts > MaxAttempts:
		return Errorf(KindInvalid, "%d attempts are out of range: use 1 to %d", s.MaxAttempts, MaxAttempts)
	case s.Delay != 0 && s.NotBefore != 0:
		return Errorf(KindInvalid, "a delay and a start time contradict each other: give one of them")
	case s.NotBefore < 0:
		return Errorf(KindInvalid, "the start time lies before 1970")
	case len(s.SharedPayload) > MaxPayload:
		return Errorf(KindTooLarge, "the payload has %d bytes, the limit is %d; put larger data where tasks can read it", len(s.SharedPayload), MaxPayload)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"timeout", s.Timeout}, {"delay", s.Delay}, {"expire", s.Expire}, {"retention", s.Retention}} {
		if d.value < 0 || d.value > MaxDelay {
			return Errorf(KindInvalid, "%s %v is out of range: use 0 to %v", d.name, d.value, MaxDelay)
		}
	}
	if err := s.validateValues(); err != nil {
		return err
	}
	if err := ValidPairs("required label", s.Require); err != nil {
		return err
	}
	return ValidPairs("meta", s.Meta)
}

func (s *Spec) validateValues() error {
	if len(s.Values) > MaxValueRuns {
		return Errorf(KindTooLarge, "the values make %d runs, the limit is %d: give the tasks payloads of their own", len(s.Values), MaxValueRuns)
	}
	for _, r := range s.Values {
		if r.Count == 0 || r.Step == 0 || uint64(r.First)+uint64(r.Step)*uint64(r.Count-1) > math.MaxUint32 {
			return Errorf(KindInvalid, "malformed values: %d of them from %d by %d", r.Count, r.First, r.Step)
		}
	}
	if len(s.Retried) > MaxValueRuns {
		return Errorf(KindTooLarge, "the tasks to retry make %d runs, the limit is %d", len(s.Retried), MaxValueRuns)
	}
	for _, r := range s.Retried {
		if r.Count == 0 || uint64(r.First)+uint64(r.Count) > MaxTasks {
			return Errorf(KindInvalid, "malformed tasks to retry: %d of them from %d on", r.Count, r.First)
		}
	}
	return nil
}

// ValueCount is how many tasks Values is for; 0 where it says nothing.
func (s *Spec) ValueCount() uint64 {
	n := uint64(0)
	for _, r := range s.Values {
		n += uint64(r.Count)
	}
	return n
}

func (s *Spec) validateWork() error {
	switch {
	case s.Handler == "" && len(s.Command) == 0:
		return Errorf(KindInvalid, "the job names no work: give a handler or a command")
	case s.Handler != "" && len(s.Command) > 0:
		return Errorf(KindInvalid, "the job names a handler and a command: give one of them")
	case s.Handler != "" && (s.Stdout != 0 || s.StdoutPath != ""):
		return Errorf(KindInvalid, "handlers have no standard output to keep or discard: they return their result")
	case s.Handler != "":
		return validName("handler", s.Handler, false)
	case s.Command[0] == "":
		return Errorf(KindInvalid, "the command is empty")
	case len(s.Command) > MaxArgs:
		return Errorf(KindTooLarge, "the command has %d arguments, the limit is %d", len(s.Command), MaxArgs)
	}
	size := len(s.Cwd) + len(s.Placeholder) + len(s.StdoutPath)
	for _, a := range s.Command {
		if strings.IndexByte(a, 0) >= 0 {
			return Errorf(KindInvalid, "an argument of the command contains a NUL byte")
		}
		size += len(a)
	}
	if size > MaxArgBytes {
		return Errorf(KindTooLarge, "the command has %d bytes, the limit is %d; pass data as payload", size, MaxArgBytes)
	}
	if err := s.validateStdout(); err != nil {
		return err
	}
	return ValidPairs("env", s.Env)
}

// ValidPairs checks a map of a spec, as sorted pairs, against its bounds.
func ValidPairs(what string, pairs []Pair) error {
	if len(pairs) > MaxPairs {
		return Errorf(KindTooLarge, "%s has %d entries, the limit is %d", what, len(pairs), MaxPairs)
	}
	size := 0
	for i, p := range pairs {
		if p.Key == "" || strings.ContainsAny(p.Key, "=\x00") || strings.IndexByte(p.Value, 0) >= 0 {
			return Errorf(KindInvalid, "%s %q is malformed: a key must not be empty nor contain '=', and NUL bytes are not allowed", what, p.Key)
		}
		if i > 0 && pairs[i-1].Key >= p.Key {
			return Errorf(KindInvalid, "%s %q is out of order or given twice", what, p.Key)
		}
		size += len(p.Key) + len(p.Value)
	}
	if size > MaxPairBytes {
		return Errorf(KindTooLarge, "%s has %d bytes, the limit is %d", what, size, MaxPairBytes)
	}
	return nil
}

// ValidName checks a name of a queue, handler or worker.
func ValidName(what, name string) error { return validName(what, name, false) }

func validName(what, name string, emptyOK bool) error {
	switch {
	case name == "" && !emptyOK:
		return Errorf(KindInvalid, "%s is empty", what)
	case len(name) > MaxName:
		return Errorf(KindTooLarge, "%s has %d bytes, the limit is %d", what, len(name), MaxName)
	case !utf8.ValidString(name) || strings.IndexFunc(name, unicode.IsControl) >= 0:
		return Errorf(KindInvalid, "%s %q contains control characters or is not UTF-8", what, name)
	}
	return nil
}

// ValidKey checks a request key.
func ValidKey(key string) error {
	if len(key) > MaxRequestKey {
		return Errorf(KindTooLarge, "the request key has %d bytes, the limit is %d", len(key), MaxRequestKey)
	}
	return nil
}
