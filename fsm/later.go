//go:build !rotanext

package fsm

import "github.com/rota-scheduler/rota/fsm/logpb"

// What the version behind the last one adds: nothing yet.

// laterNeeds is Needs for ops that came with the versions behind the first one.
func laterNeeds(*logpb.Op) uint32 { return 1 }

// knownOp says whether this build knows an op.
func knownOp(op *logpb.Op) bool { return op.Op != nil && !hasUnknown(op) }

// unknownSpecField says whether a spec itself has fields that this build does not know.
func unknownSpecField(s *logpb.Spec) bool { return hasUnknown(s) }
