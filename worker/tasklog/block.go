package tasklog

import (
	"encoding/binary"
	"time"
)

const (
	// BlockSize is the largest size of a block, bytes: what a pipe of Linux holds, and a write that costs a disk
	// hardly more than a small one.
	BlockSize = 64 << 10
	// firstSize is the size of a new buffer, bytes. Most commands print a line or nothing.
	firstSize = 512
	// recordHead is the most that a record takes beside its bytes: its length with its stream, and its time.
	recordHead = 3 + 5
)

// Stream is one of the two outputs of a command.
type Stream uint8

// The streams.
const (
	Stdout Stream = iota
	Stderr
)

// Position is a place in a log: how many bytes of each stream stand before it.
type Position struct{ Stdout, Stderr uint64 }

// sum is how many bytes stand before the place. It rises from place to place of a log.
func (p Position) sum() uint64 { return p.Stdout + p.Stderr }

// Later is the later one of two places.
func (p Position) Later(other Position) Position {
	if other.sum() > p.sum() {
		return other
	}
	return p
}

// behind is the place n bytes of a stream further on.
func (p Position) behind(s Stream, n int) Position {
	if s == Stdout {
		p.Stdout += uint64(n)
	} else {
		p.Stderr += uint64(n)
	}
	return p
}

// since is how many bytes of each stream stand between an earlier place and this one.
func (p Position) since(earlier Position) Position {
	return Position{p.Stdout - min(p.Stdout, earlier.Stdout), p.Stderr - min(p.Stderr, earlier.Stderr)}
}

// block is a part of a log. The lock of its log guards it.
type block struct {
	// start and end are the places before its first and behind its last byte.
	start, end Position
	// began is when the first byte came.
	began time.Time
	// records is its records, and size how long they are; nil: they are on disk.
	records []byte
	size    int
	// slot is where the block is on disk, or is going to be; -1: nowhere yet.
	slot int
	// gone: the block is not a part of the log any more.
	gone bool
}

// record is some bytes that were read of a stream at once.
type record struct {
	stream Stream
	// after is how long after the block's beginning it came, ms.
	after uint64
	data  []byte
}

// add appends as much of data as fits into the block, and returns how much that is; 0: the block is full.
func (b *block) add(s Stream, now time.Time, data []byte) int {
	n := min(len(data), BlockSize-len(b.records)-recordHead)
	if n <= 0 {
		return 0
	}
	b.grow(n + recordHead)
	after := uint64(max(0, now.Sub(b.began).Milliseconds()))
	// Five bytes have room for a year.
	after = min(after, 1<<35-1)
	b.records = binary.AppendUvarint(b.records, uint64(n)<<1|uint64(s))
	b.records = binary.AppendUvarint(b.records, after)
	b.records = append(b.records, data[:n]...)
	b.size = len(b.records)
	b.end = b.end.behind(s, n)
	return n
}

// grow makes room for n bytes more.
func (b *block) grow(n int) {
	need := len(b.records) + n
	if need <= cap(b.records) {
		return
	}
	size := max(firstSize, 2*cap(b.records))
	for size < need {
		size *= 2
	}
	b.records = append(make([]byte, 0, min(size, BlockSize)), b.records...)
}

// nextRecord takes the first record off the records of a block; false: there is none. Records that are malformed,
// because a disk has changed them, are none.
func nextRecord(records []byte) (r record, rest []byte, ok bool) {
	head, n := binary.Uvarint(records)
	if n <= 0 {
		return record{}, nil, false
	}
	after, m := binary.Uvarint(records[n:])
	if m <= 0 {
		return record{}, nil, false
	}
	rest = records[n+m:]
	size := head >> 1
	if size == 0 || size > uint64(len(rest)) {
		return record{}, nil, false
	}
	return record{Stream(head & 1), after, rest[:size]}, rest[size:], true
}
