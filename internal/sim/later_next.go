//go:build rotanext

package sim

import "github.com/rota-scheduler/rota/fsm/logpb"

// applyLater skips tokens, as the op of the next version does.
func (m *Model) applyLater(*logpb.Op) { m.NextToken += 1_000_000 }
