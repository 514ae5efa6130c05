//go:build rotanext

package node

import (
	"context"

	"github.com/rota-scheduler/rota/fsm"
)

// proposeLater proposes the op that version 4 adds, see task.Version, again and again: until the version has
// risen it is refused.
func (n *Node) proposeLater(ctx context.Context) {
	_, err := n.Propose(ctx, fsm.NextOp())
	n.cfg.Logger.Info("the new op was proposed", "error", err)
}
