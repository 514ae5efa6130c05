package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/rota-scheduler/rota/task"
)

// Exit codes. Scripts rely on them.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitJobFailed   = 3
	exitCancelled   = 4
	exitNotFound    = 5
	exitUnavailable = 6
	exitDenied      = 7
	exitConflict    = 8
	exitWaitTimeout = 124
	exitRunFailed   = 125
	exitInterrupted = 130
	// exitUnread is what shells show for a process that SIGPIPE has ended.
	exitUnread = 141
)

var (
	// errInterrupted: a signal asked the process to end.
	errInterrupted = errors.New("interrupted")
	// errWaitTimeout: a job was not over in the time that the user gave it.
	errWaitTimeout = errors.New("the wait timed out")
)

// usageError is a mistake in the command line, in the environment or in a
// configuration file.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// usageOf makes a usage error of an error that comes from flags or arguments.
func usageOf(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err.Error()}
}

// codeError ends the process with a code. If err is nil, the message was printed before.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *codeError) Unwrap() error { return e.err }

// exitCode is the one place that decides what an error means for the exit code.
func exitCode(err error) int {
	var code *codeError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return code.code
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.Is(err, syscall.EPIPE):
		return exitUnread
	case errors.As(err, new(*usageError)):
		return exitUsage
	case errors.Is(err, errWaitTimeout):
		return exitWaitTimeout
	}
	switch task.KindOf(err) {
	case task.KindNotFound:
		return exitNotFound
	case task.KindUnauthenticated, task.KindDenied:
		return exitDenied
	case task.KindConflict:
		return exitConflict
	case task.KindOtherCluster:
		return exitUsage // the addresses are wrong
	case task.KindUnavailable, task.KindExhausted, task.KindUnknownOutcome:
		return exitUnavailable
	default:
		return exitError
	}
}

// errorText is the message for an error, on one line; "" if the user knows all of it.
func errorText(err error) string {
	var code *codeError
	if err == nil || errors.As(err, &code) && code.err == nil || errors.Is(err, syscall.EPIPE) {
		return ""
	}
	text := err.Error()
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		// What was tried is in front of it and says more than that time ran out.
		for _, e := range []error{context.Canceled, context.DeadlineExceeded} {
			text = strings.TrimSuffix(text, ": "+e.Error())
		}
	}
	return strings.Join(strings.Fields(text), " ")
}
