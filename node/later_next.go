//go:build rotanext

package node

import (
	"context"
	"log/slog"

	"github.com/rota-scheduler/rota/fsm"
)

// proposeLater proposes the op that the next version adds (see later_next.go of package task) again and again: until the version has
// risen it is refused.
func proposeLater(ctx context.Context, propose proposeFunc, logger *slog.Logger) {
	_, err := propose(ctx, fsm.NextOp())
	logger.Info("the new op was proposed", "error", err)
}
