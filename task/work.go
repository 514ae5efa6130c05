package task

import "time"

// Work is the part of a spec that a worker needs to run the tasks of the job. Spec says what the fields
// mean.
type Work struct {
	JobName, Queue string
	Handler        string
	Command        []string
	Env            []Pair
	Cwd            string
	Placeholder    string
	Stdout         Stdout
	StdoutPath     string
	Timeout        time.Duration
	// Exclusive says that a task must never run twice at once.
	Exclusive     bool
	SharedPayload []byte
}

// Work returns what a worker needs to know of the spec. Slices are shared, not copied.
func (s *Spec) Work() Work {
	return Work{
		JobName: s.Name, Queue: s.Queue, Handler: s.Handler, Command: s.Command, Env: s.Env, Cwd: s.Cwd, Placeholder: s.Placeholder,
		Stdout: s.Stdout, StdoutPath: s.StdoutPath, Timeout: s.Timeout, Exclusive: s.Exclusive(), SharedPayload: s.SharedPayload,
	}
}
