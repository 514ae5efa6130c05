package task

import (
	"errors"
	"fmt"
	"time"
)

// Kind is the machine-readable kind of an error. It crosses the wire as it is.
type Kind string

// The kinds of error that a request can end with.
const (
	// KindInvalid: the request can never succeed as it is.
	KindInvalid Kind = "invalid"
	// KindNotFound: there is no such job, task or worker.
	KindNotFound Kind = "not-found"
	// KindConflict: it contradicts what is recorded, such as a request key with another body.
	KindConflict Kind = "conflict"
	// KindTooLarge: a bound is exceeded.
	KindTooLarge Kind = "too-large"
	// KindExhausted: a queue is full; try again after the delay.
	KindExhausted Kind = "exhausted"
	// KindUnavailable: no leader, or not yet; nothing happened.
	KindUnavailable Kind = "unavailable"
	// KindUnknownOutcome: it may or may not have taken effect.
	KindUnknownOutcome Kind = "unknown-outcome"
	// KindOtherCluster: the servers that are named are not of one cluster; nothing happened.
	KindOtherCluster Kind = "other-cluster"
	// KindUnsupported: it needs a newer version of the servers than the cluster has; nothing happened.
	KindUnsupported Kind = "unsupported"
	// KindUnauthenticated: it is not known who asks, or the credentials are not valid; nothing happened.
	KindUnauthenticated Kind = "unauthenticated"
	// KindDenied: who asks lacks the right; nothing happened.
	KindDenied Kind = "denied"
	// KindInternal: a fault of the server.
	KindInternal Kind = "internal"
)

// Error is an error with a kind. Its message says what is wrong and what to do.
type Error struct {
	Kind Kind
	Msg  string
	// RetryAfter is how long to wait before trying again; 0: nothing is known.
	RetryAfter time.Duration
	// Leader is the gRPC address of the leader if one is known.
	Leader string
	// Err is the cause, or nil.
	Err error
}

// Error returns the message, followed by that of the cause.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Msg + ": " + e.Err.Error()
	}
	return e.Msg
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is lets errors.Is(err, ErrNotFound) and its like match by kind.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Msg == "" && t.Kind == e.Kind
}

// Targets for errors.Is: each matches every error of its kind.
var (
	ErrInvalid         error = &Error{Kind: KindInvalid}
	ErrNotFound        error = &Error{Kind: KindNotFound}
	ErrConflict        error = &Error{Kind: KindConflict}
	ErrTooLarge        error = &Error{Kind: KindTooLarge}
	ErrExhausted       error = &Error{Kind: KindExhausted}
	ErrUnavailable     error = &Error{Kind: KindUnavailable}
	ErrUnknownOutcome  error = &Error{Kind: KindUnknownOutcome}
	ErrOtherCluster    error = &Error{Kind: KindOtherCluster}
	ErrUnsupported     error = &Error{Kind: KindUnsupported}
	ErrUnauthenticated error = &Error{Kind: KindUnauthenticated}
	ErrDenied          error = &Error{Kind: KindDenied}
	ErrInternal        error = &Error{Kind: KindInternal}
)

// Errorf makes an error of a kind.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Msg: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of err; KindInternal if it has none, "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindInternal
}
