package worker

import (
	"context"
	"errors"
)

// Handler runs one task. Its result may have up to task.MaxPayload bytes. An error fails the attempt.
// The task is tried again while it has attempts left, unless the error is Permanent. The context ends
// when the task times out, is cancelled, or its worker stops; context.Cause says which. A panic fails
// the attempt.
type Handler func(ctx context.Context, t *Task) ([]byte, error)

// Task is one attempt of one task.
type Task struct {
	Job   uint64
	Index uint32
	// Value is what an array job gives to this index. Without an array it is the index.
	Value uint32
	// Attempt counts from 1.
	Attempt uint32
	// Token is the fencing token. It rises with every attempt, so a system that the task writes to can
	// refuse a lower token than it has seen.
	Token uint64
	// Payload must not be changed: tasks of a job may share it.
	Payload []byte
	JobName string
	Queue   string
}

// These causes end a handler's context; context.Cause returns them.
var (
	// ErrStopped: the task was cancelled.
	ErrStopped = errors.New("the task was stopped on request")
	// ErrTimeout: the attempt ran longer than the job allows.
	ErrTimeout = errors.New("the attempt ran longer than the job's timeout")
	// ErrLease: the lease of an exclusive task is about to end.
	ErrLease = errors.New("the lease was not renewed in time for an exclusive task")
	// ErrDropped: the task was given to another worker.
	ErrDropped = errors.New("the task is no longer this worker's")
	// ErrShutdown: the worker ends.
	ErrShutdown = errors.New("the worker is stopping")
)

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent marks a failure that must not be tried again. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

func isPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}
