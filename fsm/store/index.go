package store

import (
	"encoding/binary"
	"fmt"

	"github.com/rota-scheduler/rota/fsm"
)

// An index page has for each of its tasks the cursor of its outcome plus one, 4 bytes, 0 where it
// has none. Where the outcomes of its first tasks follow each other, and the others have none, it is
// two numbers: the first cursor plus one, and how many there are. Most are: what is ended together is
// one run, and a million tasks cancelled by a few bytes are 4,000 pages.
const (
	indexBytes = 4 * fsm.PageTasks
	runBytes   = 8
)

// indexRun is a page whose first n tasks have the cursors from first on. It has room for the checksum.
func indexRun(first, n uint32) []byte {
	run := binary.BigEndian.AppendUint32(make([]byte, 0, runBytes+4), first+1)
	return binary.BigEndian.AppendUint32(run, n)
}

// packIndex returns a page as it is stored.
func packIndex(page []byte) []byte {
	if len(page) == runBytes {
		return page
	}
	first := binary.BigEndian.Uint32(page)
	n := uint32(0)
	for n < fsm.PageTasks && first > 0 && binary.BigEndian.Uint32(page[4*n:]) == first+n {
		n++
	}
	for k := n; k < fsm.PageTasks; k++ {
		if n == 0 || binary.BigEndian.Uint32(page[4*k:]) != 0 {
			return page
		}
	}
	return indexRun(first-1, n)
}

// unpackIndex returns a stored page as a whole one, with room for the checksum.
func unpackIndex(stored []byte) []byte {
	page := make([]byte, indexBytes, indexBytes+4)
	if len(stored) != runBytes {
		copy(page, stored)
		return page
	}
	first, n := binary.BigEndian.Uint32(stored), binary.BigEndian.Uint32(stored[4:])
	for k := range min(n, fsm.PageTasks) {
		binary.BigEndian.PutUint32(page[4*k:], first+k)
	}
	return page
}

// cursorIn finds the cursor of task i in its stored index page, which may be nil.
func cursorIn(page []byte, job uint64, i uint32) (cursor uint32, ok bool, err error) {
	k := i % fsm.PageTasks
	switch len(page) {
	case 0:
		return 0, false, nil
	case runBytes:
		first, n := binary.BigEndian.Uint32(page), binary.BigEndian.Uint32(page[4:])
		return first - 1 + k, k < n, nil
	case indexBytes:
		c := binary.BigEndian.Uint32(page[4*k:])
		return c - 1, c > 0, nil
	}
	return 0, false, fmt.Errorf("%w: index page of task %d.%d has %d bytes", ErrCorrupt, job, i, len(page))
}
