package wire

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// maxMessage bounds the message of a status, bytes. It travels in a header, twice,
// and peers bound their headers.
const maxMessage = 4 << 10

// ToStatus turns an error into the gRPC status that a server answers with. Its
// detail carries what the code cannot: the kind, whether the outcome is unknown,
// the leader and the delay before another try.
//
// A status that already has an ErrorDetail is a forwarded answer and passes
// unchanged. The end of a context says nothing about what was under way and
// becomes an unknown outcome, and so does an error that nobody has classified:
// handlers that know better return a *task.Error.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	var e *task.Error
	if errors.As(err, &e) {
		return newStatus(codeOf(e.Kind), err.Error(), e.Kind, e)
	}
	if st := statusOf(err); st != nil {
		if detailOf(st) != nil {
			return st.Err()
		}
		return ToStatus(FromStatus(st.Err()))
	}
	switch {
	case errors.Is(err, context.Canceled):
		return newStatus(codes.Canceled, err.Error(), task.KindUnknownOutcome, nil)
	case errors.Is(err, context.DeadlineExceeded):
		return newStatus(codes.DeadlineExceeded, err.Error(), task.KindUnknownOutcome, nil)
	}
	st := status.New(codes.Internal, cleanMessage(err.Error()))
	return withDetail(st, &rotav1.ErrorDetail{Kind: string(task.KindInternal), OutcomeUnknown: true})
}

// FromStatus turns what a call returned back into a *task.Error, with its message,
// leader and delay. Errors without an ErrorDetail come from the transport: only
// few of their codes prove that the request had no effect; all others become
// task.KindUnknownOutcome. If a context ended, errors.Is still finds
// context.Canceled or context.DeadlineExceeded, and where a server failed in a way
// it did not foresee, task.ErrInternal beside task.ErrUnknownOutcome.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	var e *task.Error
	if errors.As(err, &e) {
		return err
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &task.Error{Kind: task.KindUnknownOutcome, Msg: "the call was cancelled", Err: context.Canceled}
	case errors.Is(err, context.DeadlineExceeded):
		return &task.Error{Kind: task.KindUnknownOutcome, Msg: "the call took too long", Err: context.DeadlineExceeded}
	}
	st := statusOf(err)
	if st == nil {
		return &task.Error{Kind: task.KindUnknownOutcome, Msg: "the connection failed", Err: err}
	}
	if st.Code() == codes.OK {
		return nil
	}
	out := &task.Error{Kind: kindOf(st.Code()), Msg: st.Message(), Err: contextError(st.Code())}
	d := detailOf(st)
	if d == nil {
		out.Msg = withoutTransport(out.Msg)
		return out
	}
	switch kind := task.Kind(d.GetKind()); {
	case d.GetOutcomeUnknown(), kind == task.KindUnknownOutcome:
		out.Kind = task.KindUnknownOutcome
		if kind == task.KindInternal {
			out.Err = task.Errorf(task.KindInternal, "a fault of the server")
		}
	case known(kind):
		out.Kind = kind
	default:
		// From a newer server: its code says the most about a kind that is not known here.
		out.Kind = definiteKind(st.Code())
	}
	out.Leader = d.GetLeaderAddr()
	if d.GetRetryAfter() != nil {
		out.RetryAfter = max(0, d.GetRetryAfter().AsDuration())
	}
	return out
}

// withoutTransport removes the text that gRPC puts around the reason for a missing connection, sometimes twice.
func withoutTransport(msg string) string {
	const before, after = `connection error: desc = "transport: `, `"`
	if _, rest, ok := strings.Cut(msg, before); ok {
		if reason, ok := strings.CutSuffix(rest, after); ok {
			return strings.TrimPrefix(reason, "Error while dialing: ")
		}
	}
	return msg
}

// newStatus makes a status with an ErrorDetail. e may be nil.
func newStatus(code codes.Code, msg string, kind task.Kind, e *task.Error) error {
	d := &rotav1.ErrorDetail{Kind: string(kind), OutcomeUnknown: kind == task.KindUnknownOutcome}
	if e != nil {
		d.LeaderAddr = strings.ToValidUTF8(e.Leader, "?")
		if e.RetryAfter > 0 {
			d.RetryAfter = durationpb.New(e.RetryAfter)
		}
	}
	return withDetail(status.New(code, cleanMessage(msg)), d)
}

// withDetail adds a detail; a status with a detail of ours always encodes, since
// its texts are valid UTF-8.
func withDetail(st *status.Status, d *rotav1.ErrorDetail) error {
	detailed, err := st.WithDetails(d)
	if err != nil {
		return st.Err()
	}
	return detailed.Err()
}

// cleanMessage makes a message fit for a header: bounded and valid UTF-8.
func cleanMessage(msg string) string {
	msg = task.Legible(msg)
	if len(msg) > maxMessage {
		// The cut may go through a character; the rest of that is dropped.
		msg = strings.ToValidUTF8(msg[:maxMessage], "") + " ..."
	}
	return msg
}

// statusOf is the status in a chain of errors as it was received, or nil. The one that status.FromError returns has the
// text of the whole chain as its message.
func statusOf(err error) *status.Status {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus()
	}
	return nil
}

func detailOf(st *status.Status) *rotav1.ErrorDetail {
	for _, d := range st.Details() {
		if d, ok := d.(*rotav1.ErrorDetail); ok {
			return d
		}
	}
	return nil
}

// codeOf is the code of each kind.
func codeOf(kind task.Kind) codes.Code {
	switch kind {
	case task.KindInvalid, task.KindTooLarge:
		return codes.InvalidArgument
	case task.KindNotFound:
		return codes.NotFound
	case task.KindOtherCluster:
		return codes.FailedPrecondition
	case task.KindUnsupported:
		return codes.Unimplemented
	case task.KindUnauthenticated:
		return codes.Unauthenticated
	case task.KindDenied:
		return codes.PermissionDenied
	case task.KindConflict:
		return codes.AlreadyExists
	case task.KindExhausted:
		return codes.ResourceExhausted
	case task.KindUnavailable, task.KindUnknownOutcome:
		return codes.Unavailable
	default:
		return codes.Internal
	}
}

// kindOf is the kind of a status without an ErrorDetail, which the transport made.
func kindOf(code codes.Code) task.Kind {
	switch code {
	case codes.InvalidArgument, codes.Unimplemented:
		return task.KindInvalid
	case codes.Unauthenticated:
		return task.KindUnauthenticated
	case codes.PermissionDenied:
		return task.KindDenied
	case codes.NotFound:
		return task.KindNotFound
	case codes.ResourceExhausted:
		// A server of Rota that is full says so in a detail. Without one it is gRPC
		// that refused a message for its size, and would refuse it again.
		return task.KindTooLarge
	default:
		return task.KindUnknownOutcome
	}
}

// definiteKind is the kind of a code that a server of Rota sent without any
// uncertainty about the outcome.
func definiteKind(code codes.Code) task.Kind {
	switch code {
	case codes.Unavailable:
		return task.KindUnavailable
	case codes.ResourceExhausted:
		return task.KindExhausted
	case codes.AlreadyExists:
		return task.KindConflict
	}
	if kind := kindOf(code); kind != task.KindUnknownOutcome {
		return kind
	}
	return task.KindInternal
}

// contextError is the error of package context that a code stands for, or nil.
func contextError(code codes.Code) error {
	switch code {
	case codes.Canceled:
		return context.Canceled
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func known(kind task.Kind) bool {
	switch kind {
	case task.KindInvalid, task.KindNotFound, task.KindConflict, task.KindTooLarge, task.KindExhausted,
		task.KindUnavailable, task.KindUnknownOutcome, task.KindOtherCluster, task.KindUnsupported, task.KindUnauthenticated, task.KindDenied, task.KindInternal:
		return true
	default:
		return false
	}
}
