//go:build !rotanext

package sim

import (
	"fmt"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

// applyLater applies what the build with the tag rotanext adds: see later_next.go of package fsm.
func (m *Model) applyLater(op *logpb.Op) {
	panic(fmt.Sprintf("sim: the model does not know op %T", op.Op))
}
