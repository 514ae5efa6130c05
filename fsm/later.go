//go:build !rotanext

package fsm

import (
	"fmt"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// What later_next.go adds to the log for the test of two builds. This build has nothing of it.

// laterNeeds is Needs for ops that came with the versions behind the first one.
func laterNeeds(*logpb.Op) uint32 { return 1 }

// knownOp says whether this build knows an op.
func knownOp(op *logpb.Op) bool { return op.Op != nil && !hasUnknown(op) }

// unknownInLater is unknownInside for what that does not name.
func unknownInLater(*logpb.Op) bool { return true }

// applyLater applies what apply does not name.
func (m *Machine) applyLater(op *logpb.Op, _ *Result) {
	panic(fmt.Sprintf("fsm: op %T passed DecodeEntry but has no Apply", op.Op))
}

// unknownSpecField says whether a spec itself has fields that this build does not know.
func unknownSpecField(s *logpb.Spec) bool { return hasUnknown(s) }

// toLater and fromLater translate what a spec has besides.
func toLater(*logpb.Spec)               {}
func fromLater(*logpb.Spec, *task.Spec) {}
