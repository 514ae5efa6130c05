package store

import (
	"cmp"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Result is the outcome of one task.
type Result struct {
	Index, Cursor uint32
	// Segment is what it shares with its neighbours; its ranges and outputs are not to
	// be looked at.
	Segment *logpb.Segment
	Output  []byte
	// Usage is an encoded task.Usage; empty: it is not known.
	Usage []byte
}

// orderedBytes bounds what Ordered returns at once, beyond the first result.
const orderedBytes = 1 << 20

// Ordered returns the outcomes of tasks from index i on, in index order, up to limit of
// them, one page, or about a MiB; it stops at the first task that has none.
func (s *State) Ordered(id uint64, i uint32, limit int) ([]Result, error) {
	results, err := s.cursors(id, i, limit)
	if err != nil || len(results) == 0 {
		return nil, err
	}
	byCursor := make([]*Result, len(results))
	for k := range results {
		byCursor[k] = &results[k]
	}
	slices.SortFunc(byCursor, func(a, b *Result) int { return cmp.Compare(a.Cursor, b.Cursor) })
	for len(byCursor) > 0 {
		segments, err := s.Segments(id, byCursor[0].Cursor, orderedBytes)
		if err != nil {
			return nil, err
		}
		left := len(byCursor)
		for _, seg := range segments {
			byCursor = fill(byCursor, seg)
		}
		if len(byCursor) == left {
			if _, err := s.Job(id); err != nil {
				return nil, err // its retention has just ended
			}
			return nil, s.corrupt(fmt.Errorf("%w: job %d has no result at cursor %d", ErrCorrupt, id, byCursor[0].Cursor))
		}
	}
	size := 0
	for k := range results {
		if size += len(results[k].Output); k > 0 && size > orderedBytes {
			return results[:k], nil
		}
	}
	return results, nil
}

// fill takes from a segment what byCursor asks of it, and returns the rest of byCursor.
func fill(byCursor []*Result, seg fsm.SegmentCut) []*Result {
	cursor, outputs, usages := seg.First, seg.Segment.PackedOutputs, seg.Segment.PackedUsage
	for _, r := range seg.Segment.Ranges {
		for range r.Count {
			var output, usage []byte
			if len(outputs) > 0 {
				output, outputs, _ = task.PackNext(outputs)
			}
			if len(usages) > 0 {
				usage, usages, _ = task.PackNext(usages)
			}
			if len(byCursor) > 0 && byCursor[0].Cursor == cursor {
				byCursor[0].Segment, byCursor[0].Output, byCursor[0].Usage = seg.Segment, output, usage
				byCursor = byCursor[1:]
			}
			cursor++
		}
	}
	return byCursor
}

// cursors returns the cursors of consecutive tasks from i on, within one page.
func (s *State) cursors(id uint64, i uint32, limit int) (out []Result, err error) {
	end := i + min(uint32(limit), fsm.PageTasks-i%fsm.PageTasks)
	err = s.read(func(p *pair) error {
		out = out[:0]
		var onDisk []uint32
		for k := i; k < end; k++ {
			cursor, final, known := p.machine.Cursor(id, k)
			switch {
			case known && final:
				out = append(out, Result{Index: k, Cursor: cursor})
			case known:
				end = k
			default:
				// Of a job or page that has left memory; the disk tells.
				onDisk = append(onDisk, k)
				out = append(out, Result{Index: k})
			}
		}
		if len(onDisk) == 0 {
			return nil
		}
		return p.db.view(func(tx *bolt.Tx) error {
			for k := range out {
				if onDisk[0] != out[k].Index {
					continue
				}
				cursor, ok, err := readCursor(tx, id, out[k].Index)
				if err != nil {
					return err
				}
				if !ok {
					out = out[:k]
					return nil
				}
				out[k].Cursor = cursor
				if onDisk = onDisk[1:]; len(onDisk) == 0 {
					return nil
				}
			}
			return nil
		})
	})
	return out, err
}
