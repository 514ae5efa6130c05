package client

import (
	"bytes"
	"encoding/binary"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// cursorVersion is the first byte of a cursor, and changes with its form.
const cursorVersion = 1

// position is a place in a result stream. Servers hand out cursors between
// messages only; a place within a message is the cursor before it and the number
// of results after that.
type position struct {
	job   uint64
	order rotav1.ResultOrder
	// base is the server's cursor; empty: the start of the stream.
	base []byte
	// before is the number of results before base, skip that of results after it
	// that are done with, and last the task of the last of those.
	before, skip uint32
	last         uint32
}

func (p *position) encode() []byte {
	b := make([]byte, 0, 2+5*binary.MaxVarintLen64+len(p.base))
	b = append(b, cursorVersion, byte(p.order))
	b = binary.AppendUvarint(b, p.job)
	b = binary.AppendUvarint(b, uint64(p.before))
	b = binary.AppendUvarint(b, uint64(p.skip))
	b = binary.AppendUvarint(b, uint64(p.last))
	return append(b, p.base...)
}

// parsePosition parses a cursor of a job's results in an order. An empty one is the start.
func parsePosition(cursor []byte, job uint64, order rotav1.ResultOrder) (position, error) {
	p := position{job: job, order: order}
	if len(cursor) == 0 {
		return p, nil
	}
	if len(cursor) < 2 || cursor[0] != cursorVersion {
		return p, task.Errorf(task.KindInvalid, "the cursor is malformed or of another version: it must come from Result.Cursor")
	}
	rest := cursor[2:]
	var fields [4]uint64
	for i := range fields {
		n, k := binary.Uvarint(rest)
		if k <= 0 || i > 0 && n > task.MaxTasks {
			return p, task.Errorf(task.KindInvalid, "the cursor is malformed: it must come from Result.Cursor")
		}
		fields[i], rest = n, rest[k:]
	}
	if fields[0] != job {
		return p, task.Errorf(task.KindInvalid, "the cursor is one of job %d, not of job %d", fields[0], job)
	}
	if rotav1.ResultOrder(cursor[1]) != order {
		return p, task.Errorf(task.KindInvalid, "the cursor is one of results in another order")
	}
	p.before, p.skip, p.last = uint32(fields[1]), uint32(fields[2]), uint32(fields[3])
	p.base = bytes.Clone(rest)
	return p, nil
}
