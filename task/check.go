package task

import (
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// SetDefaults fills in what may be left out of a spec.
func (r *Rules) SetDefaults(s *Spec) {
	if s.Queue == "" {
		s.Queue = DefaultQueue
	}
	if s.Policy == 0 {
		s.Policy = LeastLoaded
	}
	if s.MaxAttempts == 0 {
		s.MaxAttempts = r.DefaultAttempts
	}
}

// Validate returns what is wrong with a spec, as an *Error, or nil.
func (r *Rules) Validate(s *Spec) error {
	if err := r.validateWork(s); err != nil {
		return err
	}
	if err := r.validName("job name", s.Name, true); err != nil {
		return err
	}
	if err := r.validName("queue", s.Queue, false); err != nil {
		return err
	}
	switch {
	case s.Policy != LeastLoaded && s.Policy != Random:
		return Errorf(KindInvalid, "unknown allocation policy %d: use least-loaded or random", s.Policy)
	case int(s.Priority) < -r.MaxPriority || int(s.Priority) > r.MaxPriority:
		return Errorf(KindInvalid, "priority %d is out of range: use -%d to %d", s.Priority, r.MaxPriority, r.MaxPriority)
	case s.MaxAttempts < 1 || int(s.MaxAttempts) > r.MaxAttempts:
		return Errorf(KindInvalid, "%d attempts are out of range: use 1 to %d", s.MaxAttempts, r.MaxAttempts)
	case s.Delay != 0 && s.NotBefore != 0:
		return Errorf(KindInvalid, "a delay and a start time contradict each other: give one of them")
	case s.NotBefore < 0:
		return Errorf(KindInvalid, "the start time lies before 1970")
	case len(s.SharedPayload) > r.MaxPayload:
		return Errorf(KindTooLarge, "the payload has %d bytes, the limit is %d; put larger data where tasks can read it", len(s.SharedPayload), r.MaxPayload)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"timeout", s.Timeout}, {"delay", s.Delay}, {"expire", s.Expire}, {"retention", s.Retention}} {
		if d.value < 0 || d.value > r.MaxDelay {
			return Errorf(KindInvalid, "%s %v is out of range: use 0 to %v", d.name, d.value, r.MaxDelay)
		}
	}
	if err := r.validateValues(s); err != nil {
		return err
	}
	if err := r.ValidPairs("required label", s.Require); err != nil {
		return err
	}
	return r.ValidPairs("meta", s.Meta)
}

func (r *Rules) validateValues(s *Spec) error {
	if len(s.Values) > r.MaxValueRuns {
		return Errorf(KindTooLarge, "the values make %d runs, the limit is %d: give the tasks payloads of their own", len(s.Values), r.MaxValueRuns)
	}
	for _, v := range s.Values {
		if v.Count == 0 || v.Step == 0 || uint64(v.First)+uint64(v.Step)*uint64(v.Count-1) > math.MaxUint32 {
			return Errorf(KindInvalid, "malformed values: %d of them from %d by %d", v.Count, v.First, v.Step)
		}
	}
	if len(s.Retried) > r.MaxValueRuns {
		return Errorf(KindTooLarge, "the tasks to retry make %d runs, the limit is %d", len(s.Retried), r.MaxValueRuns)
	}
	for _, v := range s.Retried {
		if v.Count == 0 || uint64(v.First)+uint64(v.Count) > uint64(r.MaxTasks) {
			return Errorf(KindInvalid, "malformed tasks to retry: %d of them from %d on", v.Count, v.First)
		}
	}
	return nil
}

func (r *Rules) validateWork(s *Spec) error {
	switch {
	case s.Handler == "" && len(s.Command) == 0:
		return Errorf(KindInvalid, "the job names no work: give a handler or a command")
	case s.Handler != "" && len(s.Command) > 0:
		return Errorf(KindInvalid, "the job names a handler and a command: give one of them")
	case s.Handler != "" && (s.Stdout != 0 || s.StdoutPath != ""):
		return Errorf(KindInvalid, "handlers have no standard output to keep or discard: they return their result")
	case s.Handler != "":
		return r.validName("handler", s.Handler, false)
	case s.Command[0] == "":
		return Errorf(KindInvalid, "the command is empty")
	case len(s.Command) > r.MaxArgs:
		return Errorf(KindTooLarge, "the command has %d arguments, the limit is %d", len(s.Command), r.MaxArgs)
	}
	size := len(s.Cwd) + len(s.Placeholder) + len(s.StdoutPath)
	for _, a := range s.Command {
		if strings.IndexByte(a, 0) >= 0 {
			return Errorf(KindInvalid, "an argument of the command contains a NUL byte")
		}
		size += len(a)
	}
	if size > r.MaxArgBytes {
		return Errorf(KindTooLarge, "the command has %d bytes, the limit is %d; pass data as payload", size, r.MaxArgBytes)
	}
	if err := s.validateStdout(); err != nil {
		return err
	}
	return r.ValidPairs("env", s.Env)
}

// ValidPairs checks a map of a spec, as sorted pairs, against its bounds.
func (r *Rules) ValidPairs(what string, pairs []Pair) error {
	if len(pairs) > r.MaxPairs {
		return Errorf(KindTooLarge, "%s has %d entries, the limit is %d", what, len(pairs), r.MaxPairs)
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
	if size > r.MaxPairBytes {
		return Errorf(KindTooLarge, "%s has %d bytes, the limit is %d", what, size, r.MaxPairBytes)
	}
	return nil
}

// ValidName checks a name of a queue, handler or worker.
func (r *Rules) ValidName(what, name string) error { return r.validName(what, name, false) }

func (r *Rules) validName(what, name string, emptyOK bool) error {
	switch {
	case name == "" && !emptyOK:
		return Errorf(KindInvalid, "%s is empty", what)
	case len(name) > r.MaxName:
		return Errorf(KindTooLarge, "%s has %d bytes, the limit is %d", what, len(name), r.MaxName)
	case !utf8.ValidString(name) || strings.IndexFunc(name, unicode.IsControl) >= 0:
		return Errorf(KindInvalid, "%s %q contains control characters or is not UTF-8", what, name)
	}
	return nil
}

// ValidKey checks a request key.
func (r *Rules) ValidKey(key string) error {
	if len(key) > r.MaxRequestKey {
		return Errorf(KindTooLarge, "the request key has %d bytes, the limit is %d", len(key), r.MaxRequestKey)
	}
	return nil
}

// SetDefaults is Rules.SetDefaults by the newest rules.
func (s *Spec) SetDefaults() { newest.SetDefaults(s) }

// Validate is Rules.Validate by the newest rules.
func (s *Spec) Validate() error { return newest.Validate(s) }

// ValidPairs is Rules.ValidPairs by the newest rules.
func ValidPairs(what string, pairs []Pair) error { return newest.ValidPairs(what, pairs) }

// ValidName is Rules.ValidName by the newest rules.
func ValidName(what, name string) error { return newest.ValidName(what, name) }

// ValidKey is Rules.ValidKey by the newest rules.
func ValidKey(key string) error { return newest.ValidKey(key) }
