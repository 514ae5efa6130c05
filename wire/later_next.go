//go:build rotanext

package wire

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// laterFields translates field 900 of a spec, which the next version adds; see later_next.go of package task.
func laterFields(p *rotav1.JobSpec, s *task.Spec) error {
	unknown := p.ProtoReflect().GetUnknown()
	if len(unknown) == 0 {
		return nil
	}
	number, kind, n := protowire.ConsumeTag(unknown)
	if n < 0 || number != 900 || kind != protowire.BytesType {
		return errUnknown()
	}
	text, size := protowire.ConsumeString(unknown[n:])
	if size != len(unknown)-n {
		return errUnknown()
	}
	s.Meta = append(s.Meta, task.Pair{Key: task.NextMeta, Value: text})
	slices.SortFunc(s.Meta, func(a, b task.Pair) int { return strings.Compare(a.Key, b.Key) })
	return nil
}
