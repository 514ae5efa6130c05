package store

import (
	"cmp"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
)

// Tokens implements fsm.History. What it reads of the disk it reads once: the outcomes of
// neighbours are in one record.
func (db *DB) Tokens(job uint64, tasks []uint32) []fsm.LastToken {
	out := make([]fsm.LastToken, len(tasks))
	must(db.view(func(tx *bolt.Tx) error {
		at, err := readCursors(tx, job, tasks)
		if err != nil {
			return err
		}
		var segments []fsm.SegmentCut
		for _, c := range at {
			for len(segments) > 0 && segments[0].First+segments[0].Count <= c.cursor {
				segments = segments[1:]
			}
			if len(segments) == 0 {
				if segments, err = readSegments(tx, job, c.cursor, 1); err != nil {
					return err
				}
			}
			if len(segments) > 0 {
				s := segments[0].Segment
				out[c.n] = fsm.LastToken{Token: uint64(int64(tasks[c.n]) + s.TokenOffset), Granted: s.Granted, Known: true}
			}
		}
		return nil
	}))
	return out
}

// cursorOf is the cursor of the n-th of some tasks.
type cursorOf struct {
	n      int
	cursor uint32
}

// readCursors finds the cursors of those tasks that have an outcome, in their order.
func readCursors(tx *bolt.Tx, job uint64, tasks []uint32) ([]cursorOf, error) {
	out := make([]cursorOf, 0, len(tasks))
	for n, i := range tasks {
		cursor, ok, err := readCursor(tx, job, i)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, cursorOf{n, cursor})
		}
	}
	slices.SortFunc(out, func(a, b cursorOf) int { return cmp.Compare(a.cursor, b.cursor) })
	return out, nil
}
