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

// orderedBytes bounds what Next returns at once, beyond the first result.
const orderedBytes = 1 << 20

// InOrder reads the outcomes of a job's tasks in index order. It keeps the results that it has read last, some
// 64 KiB: those of neighbours mostly stand there, too.
type InOrder struct {
	s        *State
	job      uint64
	segments []fsm.ResultSegment
}

// InOrder returns a reader of a job.
func (s *State) InOrder(job uint64) *InOrder { return &InOrder{s: s, job: job} }

// Ordered is Next of a reader that is new.
func (s *State) Ordered(id uint64, i uint32, limit int) ([]Result, error) {
	return s.InOrder(id).Next(i, limit)
}

// Next returns the outcomes of tasks from index i on, in index order, up to limit of
// them, one page, or about a MiB; it stops at the first task that has none.
func (o *InOrder) Next(i uint32, limit int) ([]Result, error) {
	results, err := o.s.cursors(o.job, i, limit)
	if err != nil || len(results) == 0 {
		return nil, err
	}
	byCursor := make([]*Result, len(results))
	for k := range results {
		byCursor[k] = &results[k]
	}
	slices.SortFunc(byCursor, func(a, b *Result) int { return cmp.Compare(a.Cursor, b.Cursor) })
	for len(byCursor) > 0 {
		seg, err := o.segment(byCursor[0].Cursor)
		if err != nil {
			return nil, err
		}
		if seg == nil {
			if _, err := o.s.Job(o.job); err != nil {
				return nil, err // its retention has just ended
			}
			return nil, o.s.corrupt(fmt.Errorf("%w: job %d has no result at cursor %d", ErrCorrupt, o.job, byCursor[0].Cursor))
		}
		byCursor = fill(byCursor, *seg)
	}
	size := 0
	for k := range results {
		if size += len(results[k].Output); k > 0 && size > orderedBytes {
			return results[:k], nil
		}
	}
	return results, nil
}

// segment returns the segment with a cursor; nil: there is none.
func (o *InOrder) segment(cursor uint32) (*fsm.ResultSegment, error) {
	if seg := segmentWith(o.segments, cursor); seg != nil {
		return seg, nil
	}
	var err error
	if o.segments, err = o.s.Segments(o.job, cursor, 1); err != nil {
		return nil, err
	}
	return segmentWith(o.segments, cursor), nil
}

// segmentWith finds the segment with a cursor among some that follow each other; nil: it is not there.
func segmentWith(segments []fsm.ResultSegment, cursor uint32) *fsm.ResultSegment {
	k, _ := slices.BinarySearchFunc(segments, cursor, func(s fsm.ResultSegment, c uint32) int {
		if s.First+s.Count <= c {
			return -1
		}
		return 1
	})
	if k == len(segments) || segments[k].First > cursor {
		return nil
	}
	return &segments[k]
}

// fill takes from a segment, which has the first of byCursor, what byCursor asks of it, and returns the rest of
// byCursor. What lies between is passed without a look at each: a segment may have a million tasks.
func fill(byCursor []*Result, seg fsm.ResultSegment) []*Result {
	cursor, outputs, usages := seg.First, seg.Segment.PackedOutputs, seg.Segment.PackedUsage
	pass := func(n uint32) {
		outputs, _ = task.PackSkip(outputs, int(n))
		usages, _ = task.PackSkip(usages, int(n))
		cursor += n
	}
	for end := seg.First + seg.Count; len(byCursor) > 0 && byCursor[0].Cursor < end; byCursor = byCursor[1:] {
		pass(byCursor[0].Cursor - cursor)
		var output, usage []byte
		if len(outputs) > 0 {
			output, _, _ = task.PackNext(outputs)
		}
		if len(usages) > 0 {
			usage, _, _ = task.PackNext(usages)
		}
		byCursor[0].Segment, byCursor[0].Output, byCursor[0].Usage = seg.Segment, output, usage
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
			page, err := readIndex(tx, id, i) // of all of them
			if err != nil {
				return err
			}
			for k := range out {
				if onDisk[0] != out[k].Index {
					continue
				}
				cursor, ok, err := cursorIn(page, id, out[k].Index)
				if !ok && err == nil {
					cursor, ok, err = readCursor(tx, id, out[k].Index)
				}
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
