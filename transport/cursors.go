package transport

import (
	"encoding/binary"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// A cursor is a version, the order, and the number of results received, or the next index. Clients must not look into
// it. In a cluster that was restored or recovered, it also has the incarnation: what a cursor from before counts may not
// be there any more, and other results may have come in its place.
const (
	cursorVersion = 1
	cursorBytes   = 1 + 1 + 4
	// laterVersion is that of cursors with an incarnation, before the number.
	laterVersion = 2
	laterBytes   = 1 + 1 + 8 + 4
)

// cursors encodes and decodes the cursors of one stream of results.
type cursors struct {
	order rotav1.ResultOrder
	// incarnation is nil in a cluster that is its first one.
	incarnation *logpb.Incarnation
}

// cursors are those of a stream that begins now.
func (s *Server) cursors(order rotav1.ResultOrder) cursors {
	return cursors{order, s.node.State().Machine().Incarnation()}
}

// encode returns the cursor behind the results before next.
func (c cursors) encode(next uint32) []byte {
	if c.incarnation == nil {
		return binary.BigEndian.AppendUint32([]byte{cursorVersion, byte(c.order)}, next)
	}
	b := append(make([]byte, 0, laterBytes), laterVersion, byte(c.order))
	b = binary.BigEndian.AppendUint64(b, c.incarnation.Id)
	return binary.BigEndian.AppendUint32(b, next)
}

// decode is the inverse of encode; no cursor is the start.
func (c cursors) decode(b []byte) (next uint32, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	first, later := b[0] == cursorVersion && len(b) == cursorBytes, b[0] == laterVersion && len(b) == laterBytes
	switch {
	case !first && !later:
		return 0, task.Errorf(task.KindInvalid, "malformed cursor: use one that a result stream has sent")
	case b[1] != byte(c.order):
		return 0, task.Errorf(task.KindInvalid, "the cursor is of a stream in another order")
	case c.incarnation == nil && later:
		return 0, task.Errorf(task.KindConflict, "the cursor is of another cluster: read the results from the start")
	case c.incarnation != nil && (first || binary.BigEndian.Uint64(b[2:]) != c.incarnation.Id):
		return 0, task.Errorf(task.KindConflict,
			"the cursor is from before this cluster began with index %d of cluster %s: results that it counts may be gone, and others may have come in their place; read the results from the start",
			c.incarnation.FromIndex, c.incarnation.FromCluster)
	}
	return binary.BigEndian.Uint32(b[len(b)-4:]), nil
}
