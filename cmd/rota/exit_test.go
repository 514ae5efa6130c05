package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

func TestEveryKindOfErrorHasItsExitCode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("any"), 1},
		{task.Errorf(task.KindInvalid, "from a server"), 1},
		{task.Errorf(task.KindTooLarge, "from a server"), 1},
		{task.Errorf(task.KindInternal, "fault"), 1},
		{usagef("bad flag"), 2},
		{usageOf(task.Errorf(task.KindInvalid, "from a flag")), 2},
		{jobError(client.JobInfo{Total: 2, State: task.JobFailed, Counts: task.Counts{task.Failed: 1, task.Cancelled: 1}}), 3},
		{jobError(client.JobInfo{Total: 2, State: task.JobCancelled, Counts: task.Counts{task.Succeeded: 1, task.Cancelled: 1}}), 4},
		{jobError(client.JobInfo{State: task.JobCancelled}), 4},
		{jobError(client.JobInfo{Total: 1, State: task.JobSucceeded, Counts: task.Counts{task.Succeeded: 1}}), 0},
		{fmt.Errorf("get: %w", task.Errorf(task.KindNotFound, "no job")), 5},
		{task.Errorf(task.KindUnavailable, "no leader"), 6},
		{task.Errorf(task.KindUnknownOutcome, "lost"), 6},
		{task.Errorf(task.KindExhausted, "full"), 6},
		{task.Errorf(task.KindConflict, "other body"), 8},
		{fmt.Errorf("%w: job 1", errWaitTimeout), 124},
		{runError(errors.New("any")), 125},
		{runError(task.Errorf(task.KindUnavailable, "no leader")), 125},
		{runError(&codeError{code: 7}), 7},
		{runError(usagef("bad flag")), 2},
		{runError(fmt.Errorf("%w: job 1", errWaitTimeout)), 124},
		{runError(fmt.Errorf("%w: job 1", errInterrupted)), 130},
		{errors.Join(fmt.Errorf("%w: job 1", errInterrupted), nil), 130},
	} {
		require.Equal(t, c.want, exitCode(c.err), "%v", c.err)
	}
}

func TestErrorsAreOneLine(t *testing.T) {
	t.Parallel()
	require.Equal(t, "open state.db: it is corrupt Nothing was changed", errorText(errors.New("open state.db: it is corrupt\nNothing was changed")))
	require.Equal(t, "get job 1: gave up after 3 attempts", errorText(fmt.Errorf("get job 1: gave up after 3 attempts: %w", context.DeadlineExceeded)))
	require.Empty(t, errorText(&codeError{code: 7}))
	require.Empty(t, errorText(nil))
}

// testApp is an app without terminals and environment.
func testApp(env map[string]string) (a *app, out, errOut *bytes.Buffer) {
	out, errOut = &bytes.Buffer{}, &bytes.Buffer{}
	return &app{in: &bytes.Buffer{}, out: out, err: errOut, env: func(k string) string { return env[k] }, format: formatTable}, out, errOut
}

func TestAnInterruptIsExitCode130WhateverFailedForIt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errInterrupted)
	a, _, errOut := testApp(nil)
	require.Equal(t, exitInterrupted, a.run(ctx, []string{"job", "list"}))
	require.Equal(t, "rota: interrupted\n", errOut.String())
}
