package fsm

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

// EncodeEntry encodes ops as one log entry, proposed at clock (Unix ns) under the active version. A rise
// stands alone in an entry of the version that it rises to.
func EncodeEntry(active uint32, clock int64, ops []*logpb.Op) ([]byte, error) {
	if len(ops) > 0 && ops[0].GetSetVersion() != nil {
		active = max(active, ops[0].GetSetVersion().Version)
	}
	return proto.Marshal(&logpb.Entry{Version: active, ClockNs: clock, Ops: ops})
}

// ErrMalformed is the error of data that no build has written as a log entry.
var ErrMalformed = errors.New("malformed log entry")

// DecodeEntry decodes and checks a log entry. An error means that this build must
// not go on: it would apply something other than the rest of the cluster does.
// ErrMalformed: nobody could; ErrTooOld: a newer build can.
func DecodeEntry(data []byte) (*logpb.Entry, error) {
	e := &logpb.Entry{}
	if err := proto.Unmarshal(data, e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if e.Version == 0 {
		return nil, fmt.Errorf("%w: it has no version", ErrMalformed)
	}
	if e.Version > Version {
		return nil, errTooOld("the entry has version %d, it knows versions up to %d", e.Version, Version)
	}
	if hasUnknown(e) {
		return nil, errTooOld("the entry has fields that it does not know")
	}
	for i, op := range e.Ops {
		if !knownOp(op) {
			return nil, errTooOld("it does not know op %d of the entry", i)
		}
		if unknownInside(op) {
			return nil, errTooOld("op %d of the entry (%T) has fields that it does not know", i, op.Op)
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
	case *logpb.Op_RemoveServer:
		return hasUnknown(o.RemoveServer)
	case *logpb.Op_SetVersion:
		return hasUnknown(o.SetVersion)
	case *logpb.Op_CreateAccessToken:
		return hasUnknown(o.CreateAccessToken) || hasUnknown(o.CreateAccessToken.Token)
	case *logpb.Op_RevokeAccessToken:
		return hasUnknown(o.RevokeAccessToken)
	default:
		return unknownInLater(op)
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

// unknownInSpec says whether a spec has fields that this build does not know, at any depth.
func unknownInSpec(s *logpb.Spec) bool {
	return unknownSpecField(s) || hasUnknown(s.Env...) || hasUnknown(s.Require...) || hasUnknown(s.Meta...) ||
		hasUnknown(s.Values...) || hasUnknown(s.Retried...)
}
