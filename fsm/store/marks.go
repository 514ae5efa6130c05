package store

import (
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"

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
