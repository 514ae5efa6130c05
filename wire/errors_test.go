package wire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

var kinds = map[task.Kind]codes.Code{
	task.KindInvalid:        codes.InvalidArgument,
	task.KindNotFound:       codes.NotFound,
	task.KindConflict:       codes.AlreadyExists,
	task.KindTooLarge:       codes.InvalidArgument,
	task.KindExhausted:      codes.ResourceExhausted,
	task.KindUnavailable:    codes.Unavailable,
	task.KindUnknownOutcome: codes.Unavailable,
	task.KindInternal:       codes.Internal,
}

func TestErrorsSurviveTheWayOverTheWire(t *testing.T) {
	t.Parallel()
	all := make([]task.Kind, 0, len(kinds))
	for kind := range kinds {
		all = append(all, kind)
	}
	rapid.Check(t, func(t *rapid.T) {
		want := &task.Error{
			Kind:       rapid.SampledFrom(all).Draw(t, "kind"),
			Msg:        rapid.StringN(0, 100, 400).Draw(t, "msg"),
			RetryAfter: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "retry after")),
			Leader:     rapid.StringN(0, 20, 80).Draw(t, "leader"),
		}
		st := wire.ToStatus(want)
		require.Equal(t, kinds[want.Kind], status.Code(st))
		require.Equal(t, want, wire.FromStatus(st))
		// Anywhere in a chain it is found, and what was said around it is kept.
		wrapped := wire.FromStatus(wire.ToStatus(fmt.Errorf("propose: %w", want)))
		require.Equal(t, want.Kind, task.KindOf(wrapped))
		require.Equal(t, "propose: "+want.Msg, wrapped.Error())
		// A forwarded answer is not touched.
		require.Equal(t, st, wire.ToStatus(st))
		require.Equal(t, want, wire.FromStatus(wire.ToStatus(fmt.Errorf("forward: %w", st))))
	})
}

func TestNoErrorStaysNoError(t *testing.T) {
	t.Parallel()
	require.NoError(t, wire.ToStatus(nil))
	require.NoError(t, wire.FromStatus(nil))
}

func TestUnknownOutcomeIsMarkedInTheDetail(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err     error
		unknown bool
	}{
		{task.Errorf(task.KindUnknownOutcome, "lost leadership"), true},
		{task.Errorf(task.KindUnavailable, "no leader"), false},
		{context.Canceled, true},
		{fmt.Errorf("wait: %w", context.DeadlineExceeded), true},
		{errors.New("nobody thought of this"), true},
		{status.Error(codes.Unavailable, "transport is closing"), true},
		{status.Error(codes.InvalidArgument, "bad frame"), false},
	} {
		st, ok := status.FromError(wire.ToStatus(tc.err))
		require.True(t, ok)
		require.Len(t, st.Details(), 1, "%v", tc.err)
		require.Equal(t, tc.unknown, st.Details()[0].(*rotav1.ErrorDetail).GetOutcomeUnknown(), "%v", tc.err)
	}
}

func TestDefiniteFailureThatWrapsAContextStaysDefinite(t *testing.T) {
	t.Parallel()
	err := &task.Error{Kind: task.KindUnavailable, Msg: "never proposed", Err: context.DeadlineExceeded}
	require.ErrorIs(t, wire.FromStatus(wire.ToStatus(err)), task.ErrUnavailable)
}

func TestTransportFailuresLeaveTheOutcomeUnknown(t *testing.T) {
	t.Parallel()
	for _, code := range []codes.Code{codes.Unavailable, codes.Unknown, codes.Internal, codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.DataLoss} {
		require.ErrorIs(t, wire.FromStatus(status.Error(code, "x")), task.ErrUnknownOutcome, "%v", code)
	}
	require.ErrorIs(t, wire.FromStatus(io.EOF), task.ErrUnknownOutcome)
	require.ErrorIs(t, wire.FromStatus(io.EOF), io.EOF)
	for code, kind := range map[codes.Code]task.Kind{
		codes.InvalidArgument:   task.KindInvalid,
		codes.NotFound:          task.KindNotFound,
		codes.Unimplemented:     task.KindInvalid,
		codes.ResourceExhausted: task.KindTooLarge,
		codes.PermissionDenied:  task.KindDenied,
		codes.Unauthenticated:   task.KindUnauthenticated,
	} {
		require.Equal(t, kind, task.KindOf(wire.FromStatus(status.Error(code, "x"))), "%v", code)
	}
}

func TestEndOfAContextCanBeRecognised(t *testing.T) {
	t.Parallel()
	for _, ctxErr := range []error{context.Canceled, context.DeadlineExceeded} {
		for _, err := range []error{ctxErr, status.FromContextError(ctxErr).Err(), wire.ToStatus(ctxErr)} {
			require.ErrorIs(t, wire.FromStatus(err), ctxErr)
			require.ErrorIs(t, wire.FromStatus(err), task.ErrUnknownOutcome)
		}
	}
}

func TestUnforeseenErrorOfAServerIsInternalAndOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	err := wire.FromStatus(wire.ToStatus(errors.New("index out of range")))
	require.ErrorIs(t, err, task.ErrInternal)
	require.Equal(t, task.KindUnknownOutcome, task.KindOf(err))
	require.ErrorContains(t, err, "index out of range")
}

func TestKindOfANewerServerFallsBackToItsCode(t *testing.T) {
	t.Parallel()
	for code, kind := range map[codes.Code]task.Kind{
		codes.Unavailable:       task.KindUnavailable,
		codes.ResourceExhausted: task.KindExhausted,
		codes.AlreadyExists:     task.KindConflict,
		codes.NotFound:          task.KindNotFound,
		codes.DataLoss:          task.KindInternal,
	} {
		st, err := status.New(code, "x").WithDetails(&rotav1.ErrorDetail{Kind: "brand-new"})
		require.NoError(t, err)
		require.Equal(t, kind, task.KindOf(wire.FromStatus(st.Err())), "%v", code)
	}
}

func TestMessagesFitIntoAHeader(t *testing.T) {
	t.Parallel()
	err := wire.FromStatus(wire.ToStatus(task.Errorf(task.KindInvalid, "%s", "bad \xff "+strings.Repeat("ä", 10_000))))
	require.ErrorIs(t, err, task.ErrInvalid)
	require.Less(t, len(err.Error()), 5000)
	require.Contains(t, err.Error(), `bad \xff ä`)
}

func TestWhyThereIsNoConnectionIsSaidPlainly(t *testing.T) {
	t.Parallel()
	for msg, want := range map[string]string{
		`connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`: "dial tcp 127.0.0.1:1: connect: connection refused",
		`connection error: desc = "transport: authentication handshake failed: EOF"`:                                   "authentication handshake failed: EOF",
		"the queue is full": "the queue is full",
	} {
		err := wire.FromStatus(status.Error(codes.Unavailable, msg))
		require.Equal(t, want, err.Error())
	}
}
