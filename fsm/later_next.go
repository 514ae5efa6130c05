//go:build rotanext

package fsm

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// What the next version adds to the log, see later_next.go of package task. It takes the place of generated code: to other builds
// both are fields of numbers that no message has.

// nextField is the number of the new op in Op, and of the new field in Spec.
const nextField = 900

// NextOp is an op that skips tokens.
func NextOp() *logpb.Op {
	op := &logpb.Op{}
	op.ProtoReflect().SetUnknown(nextBytes("skip"))
	return op
}

// skippedTokens is how many tokens it skips.
const skippedTokens = 1_000_000

func nextBytes(text string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, nextField, protowire.BytesType), text)
}

// nextOf is the content of the new field, where that is all that is unknown.
func nextOf(unknown []byte) (text string, ok bool) {
	number, kind, n := protowire.ConsumeTag(unknown)
	if n < 0 || number != nextField || kind != protowire.BytesType {
		return "", false
	}
	text, size := protowire.ConsumeString(unknown[n:])
	return text, size == len(unknown)-n
}

func isNext(op *logpb.Op) bool {
	_, ok := nextOf(op.ProtoReflect().GetUnknown())
	return ok && op.Op == nil
}

func laterNeeds(op *logpb.Op) uint32 {
	if isNext(op) {
		return task.Version
	}
	return 1
}

func knownOp(op *logpb.Op) bool { return isNext(op) || op.Op != nil && !hasUnknown(op) }

func unknownInLater(op *logpb.Op) bool { return !isNext(op) }

func (m *Machine) applyLater(*logpb.Op, *Result) { m.nextToken += skippedTokens }

func unknownSpecField(s *logpb.Spec) bool {
	unknown := s.ProtoReflect().GetUnknown()
	_, ok := nextOf(unknown)
	return len(unknown) > 0 && !ok
}

func toLater(s *logpb.Spec) {
	s.Meta = slices.DeleteFunc(s.Meta, func(p *logpb.Pair) bool {
		if p.Key != task.NextMeta {
			return false
		}
		s.ProtoReflect().SetUnknown(nextBytes(p.Value))
		return true
	})
}

func fromLater(p *logpb.Spec, s *task.Spec) {
	if text, ok := nextOf(p.ProtoReflect().GetUnknown()); ok {
		s.Meta = append(s.Meta, task.Pair{Key: task.NextMeta, Value: text})
		slices.SortFunc(s.Meta, func(a, b task.Pair) int { return strings.Compare(a.Key, b.Key) })
	}
}
