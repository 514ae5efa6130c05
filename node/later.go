//go:build !rotanext

package node

import (
	"context"
	"log/slog"
)

// proposeLater proposes the op that later_next.go adds, for the test of two builds. This build has none.
func proposeLater(context.Context, proposeFunc, *slog.Logger) {}
