package fsm

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

// Version is the semantics of Apply that this build knows. A change to what any
// op does to the state is a new version; entries say which one they mean. From
// version 2 on attempts that do not end their tasks leave records.
const Version = 2

// attemptsVersion is the first one in which attempts leave records.
const attemptsVersion = 2

// EncodeEntry encodes ops as one log entry, proposed at clock (Unix ns).
func EncodeEntry(clock int64, ops []*logpb.Op) ([]byte, error) {
	return proto.Marshal(&logpb.Entry{Version: Version, ClockNs: clock, Ops: ops})
}

// ErrMalformed is the error of data that no build has written as a log entry.
var ErrMalformed = errors.New("malformed log entry")

// DecodeEntry decodes and checks a log entry. An error means that this build must
// not go on: it would apply something other than the rest of the cluster does.
// ErrMalformed: nobody could.
func DecodeEntry(data []byte) (*logpb.Entry, error) {
	e := &logpb.Entry{}
	if err := proto.Unmarshal(data, e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if e.Version == 0 {
		return nil, fmt.Errorf("%w: it has no version", ErrMalformed)
	}
	if e.Version > Version {
		return nil, fmt.Errorf("log entry of version %d, this build knows up to %d: upgrade this server", e.Version, Version)
	}
	if hasUnknown(e) {
		return nil, fmt.Errorf("log entry with unknown fields: upgrade this server")
	}
	for i, op := range e.Ops {
		if op.Op == nil || hasUnknown(op) {
			return nil, fmt.Errorf("log entry with unknown op at place %d: upgrade this server", i)
		}
		if unknownInside(op) {
			return nil, fmt.Errorf("log entry with unknown fields in op %d (%T): upgrade this server", i, op.Op)
		}
	}
	return e, nil
}

func hasUnknown[M proto.Message](messages ...M) bool {
	for _, m := range messages {
		if len(m.ProtoReflect().GetUnknown()) > 0 {
			return true
		}
	}
	return false
}

// unknownInside says whether an op has fields that this build does not know, at any
// depth. It names every message there is: to walk them by reflection would cost more
// than to apply them.
func unknownInside(op *logpb.Op) bool {
	switch o := op.Op.(type) {
	case *logpb.Op_InitCluster:
		return hasUnknown(o.InitCluster)
	case *logpb.Op_Submit:
		return hasUnknown(o.Submit) || hasUnknown(o.Submit.Tasks) || hasUnknown(o.Submit.Assign...)
	case *logpb.Op_AppendTasks:
		return hasUnknown(o.AppendTasks) || hasUnknown(o.AppendTasks.Tasks)
	case *logpb.Op_CloseTasks:
		return hasUnknown(o.CloseTasks)
	case *logpb.Op_Cancel:
		return hasUnknown(o.Cancel)
	case *logpb.Op_OpenSession:
		return hasUnknown(o.OpenSession) || hasUnknown(o.OpenSession.Session) || hasUnknown(o.OpenSession.Session.GetLabels()...) ||
			unknownInHeld(o.OpenSession.Held) || unknownInReport(o.OpenSession.Reports)
	case *logpb.Op_CloseSession:
		return hasUnknown(o.CloseSession)
	case *logpb.Op_ApplyPlan:
		return hasUnknown(o.ApplyPlan) || hasUnknown(o.ApplyPlan.Assign...)
	case *logpb.Op_Report:
		return hasUnknown(o.Report) || unknownInReport(o.Report.Groups)
	case *logpb.Op_Overdue:
		return hasUnknown(o.Overdue) || unknownInHeld(o.Overdue.Held)
	case *logpb.Op_Expire:
		return hasUnknown(o.Expire)
	case *logpb.Op_Collect:
		return hasUnknown(o.Collect) || hasUnknown(o.Collect.Keys...)
	case *logpb.Op_Checkpoint:
		return hasUnknown(o.Checkpoint)
	case *logpb.Op_PutServer:
		return hasUnknown(o.PutServer) || hasUnknown(o.PutServer.Server)
	case *logpb.Op_DeleteServer:
		return hasUnknown(o.DeleteServer)
	default:
		return true
	}
}

func unknownInReport(groups []*logpb.ReportGroup) bool {
	for _, g := range groups {
		if hasUnknown(g) || hasUnknown(g.Ranges...) {
			return true
		}
	}
	return false
}

func unknownInHeld(held []*logpb.Held) bool {
	for _, h := range held {
		if hasUnknown(h) || hasUnknown(h.Ranges...) {
			return true
		}
	}
	return false
}
