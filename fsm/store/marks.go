package store

import (
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
)

// A job that grows has a mark for each append, so that one that is sent again is known. Marks
// are records of their own: in the job's record they would be written again with each flush.

// markBytes is the size of a mark: count and hash.
const markBytes = 4 + 8

func writeMarks(tx *bolt.Tx, job uint64, marks []*logpb.AppendMark) error {
	for _, a := range marks {
		value := binary.BigEndian.AppendUint32(make([]byte, 0, markBytes+sealBytes), a.Count)
		value = binary.BigEndian.AppendUint64(value, a.Hash)
		if err := put(tx, appendsBucket, key6432(job, a.First), value); err != nil {
			return err
		}
	}
	return nil
}

// Append implements fsm.History.
func (db *DB) Append(job uint64, first uint32) (mark *logpb.AppendMark, ok bool) {
	must(db.view(func(tx *bolt.Tx) (err error) {
		mark, err = readMark(tx, job, first)
		return err
	}))
	return mark, mark != nil
}

// readMark returns nil where no append of a job began at first.
func readMark(tx *bolt.Tx, job uint64, first uint32) (*logpb.AppendMark, error) {
	key := key6432(job, first)
	value, err := get(tx, appendsBucket, key)
	switch {
	case err != nil:
		return nil, err
	case value == nil:
		return readInlineMark(tx, job, first)
	case len(value) != markBytes:
		return nil, fmt.Errorf("%w: %s/%x has %d bytes", ErrCorrupt, appendsBucket, key, len(value))
	}
	return &logpb.AppendMark{First: first, Count: binary.BigEndian.Uint32(value), Hash: binary.BigEndian.Uint64(value[4:])}, nil
}

// Appends returns how many tasks up to limit appends to a job had, in their order, from the one on that
// begins at index first.
func (s *State) Appends(id uint64, first uint32, limit int) (counts []uint32, err error) {
	err = s.read(func(p *pair) error {
		inMemory := p.machine.Appends(id)
		if p.machine.Collected(id) {
			return fsm.NoSuchJob(id)
		}
		list := &appendList{next: first, limit: limit}
		// Behind the look into memory: what has left it is on disk by now.
		if err := p.db.view(func(tx *bolt.Tx) error { return list.stored(tx, id) }); err != nil {
			return err
		}
		for _, a := range inMemory {
			list.add(a.First, a.Count)
		}
		counts = list.counts
		return nil
	})
	return counts, err
}

// appendList gathers appends that follow each other.
type appendList struct {
	next   uint32
	limit  int
	counts []uint32
}

// add takes an append unless it is known, and says whether there is room for more.
func (l *appendList) add(first, count uint32) bool {
	if first == l.next && len(l.counts) < l.limit {
		l.counts = append(l.counts, count)
		l.next += count
	}
	return len(l.counts) < l.limit
}

// stored takes what the file has.
func (l *appendList) stored(tx *bolt.Tx, job uint64) error {
	c := tx.Bucket(appendsBucket).Cursor()
	for k, v := c.Seek(key6432(job, l.next)); k != nil && binary.BigEndian.Uint64(k) == job; k, v = c.Next() {
		value, err := unseal(appendsBucket, k, v)
		if err != nil {
			return err
		}
		if len(value) != markBytes {
			return fmt.Errorf("%w: %s/%x has %d bytes", ErrCorrupt, appendsBucket, k, len(value))
		}
		// Appends follow each other without a gap: where none begins there, none is to be told.
		if first := binary.BigEndian.Uint32(k[8:]); first != l.next || !l.add(first, binary.BigEndian.Uint32(value)) {
			return nil
		}
	}
	rec, err := readJob(tx, job)
	for _, a := range rec.GetAppends() {
		l.add(a.First, a.Count)
	}
	return err
}

// readInlineMark finds a mark in the record of a small job, or in one of format 2.
func readInlineMark(tx *bolt.Tx, job uint64, first uint32) (*logpb.AppendMark, error) {
	rec, err := readJob(tx, job)
	for _, a := range rec.GetAppends() {
		if a.First == first {
			return a, err
		}
	}
	return nil, err
}
