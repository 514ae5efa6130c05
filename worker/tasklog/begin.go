package tasklog

import (
	"bytes"
	"slices"
	"time"
)

// Tail is where the last lines of a log begin, of what is wanted. What has no line end yet is a line.
func (l *Log) Tail(lines int, wanted Wanted) Position {
	l.mu.Lock()
	end, blocks := l.end, slices.Clone(l.blocks)
	l.mu.Unlock()
	if lines <= 0 {
		return end
	}
	at, atEnd := end, true
	for _, b := range slices.Backward(blocks) {
		placed, ok := l.recordsOf(b)
		if !ok {
			return at // the blocks before it have gone too, or are of no use without it
		}
		for _, r := range slices.Backward(placed) {
			if !wanted.has(r.stream) {
				continue
			}
			data := r.data
			if atEnd {
				// The line end at the very end begins no line.
				atEnd, data = false, bytes.TrimSuffix(data, []byte{'\n'})
			}
			for {
				i := bytes.LastIndexByte(data, '\n')
				if i < 0 {
					break
				}
				if lines--; lines == 0 {
					return r.from.behind(r.stream, i+1)
				}
				data = data[:i]
			}
		}
		at = b.start
	}
	return at
}

// Since is where that begins which is not older than age.
func (l *Log) Since(age time.Duration) Position {
	oldest := l.store.now().Add(-age)
	l.mu.Lock()
	end, blocks := l.end, slices.Clone(l.blocks)
	l.mu.Unlock()
	// The last block that begins before that time may have some of it.
	i, _ := slices.BinarySearchFunc(blocks, oldest, func(b *block, t time.Time) int { return b.began.Compare(t) })
	for _, b := range blocks[max(0, i-1):] {
		placed, ok := l.recordsOf(b)
		if !ok {
			continue
		}
		for _, r := range placed {
			if !b.began.Add(time.Duration(r.after) * time.Millisecond).Before(oldest) {
				return r.from
			}
		}
	}
	return end
}

// placedRecord is a record with the place before it.
type placedRecord struct {
	record
	from Position
}

// recordsOf returns the records of a block; false: the block has gone. What was appended after its caller has looked is
// among them.
func (l *Log) recordsOf(b *block) (out []placedRecord, ok bool) {
	l.mu.Lock()
	records, slot, size, gone := b.records, b.slot, b.size, b.gone
	l.mu.Unlock()
	if gone {
		return nil, false
	}
	if records == nil {
		r := &Reader{log: l}
		if loaded, _ := r.load(b, slot, size); !loaded {
			return nil, false
		}
		records = r.loaded
	}
	for from := b.start; ; {
		rec, rest, ok := nextRecord(records)
		if !ok {
			return out, true
		}
		out = append(out, placedRecord{rec, from})
		from, records = from.behind(rec.stream, len(rec.data)), rest
	}
}
