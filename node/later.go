//go:build !rotanext

package node

import "context"

// proposeLater proposes the op that later_next.go adds, for the test of two builds. This build has none.
func (n *Node) proposeLater(context.Context) {}
