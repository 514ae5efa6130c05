//go:build !rotanext

package wire

import (
	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// laterFields translates what a spec has beyond the fields that the generated code knows. This build knows
// nothing of that; see later_next.go.
func laterFields(p *rotav1.JobSpec, _ *task.Spec) error { return CheckKnown(p) }
