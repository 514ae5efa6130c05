package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// must stops the server: Apply asked the disk and got no answer it may act on.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("store: %v: this server cannot go on; stop it, move its data folder away and let it join anew", err))
	}
}

// Key implements fsm.History.
func (db *DB) Key(queue, key string) (*logpb.KeyRecord, bool) {
	id := []byte(queue + "\x00" + key)
	if !db.keys.mayHave(id) {
		return nil, false
	}
	rec, ok := &logpb.KeyRecord{}, false
	must(db.view(func(tx *bolt.Tx) (err error) {
		ok, err = getProto(tx, keysBucket, id, rec)
		return err
	}))
	return rec, ok
}

// Job implements fsm.History. It also finds jobs that are not final.
func (db *DB) Job(id uint64) (*logpb.JobRecord, bool) {
	rec, err := db.job(id)
	must(err)
	return rec, rec != nil
}

func (db *DB) job(id uint64) (rec *logpb.JobRecord, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		rec, err = readJob(tx, id)
		return err
	})
	return rec, err
}

// readJob returns nil where there is no such job.
func readJob(tx *bolt.Tx, id uint64) (*logpb.JobRecord, error) {
	rec := &logpb.JobRecord{}
	ok, err := getProto(tx, jobsBucket, key64(id), rec)
	if err != nil || !ok {
		return nil, err
	}
	if len(rec.Counts) != task.NumStates {
		return nil, fmt.Errorf("%w: job %d has %d counts", ErrCorrupt, id, len(rec.Counts))
	}
	return rec, nil
}

// readCursor finds the cursor of a task's outcome.
func readCursor(tx *bolt.Tx, job uint64, i uint32) (cursor uint32, ok bool, err error) {
	page, err := readIndex(tx, job, i)
	if err != nil {
		return 0, false, err
	}
	if cursor, ok, err = cursorIn(page, job, i); ok || err != nil {
		return cursor, ok, err
	}
	rec, err := readJob(tx, job)
	if err != nil || rec == nil {
		return 0, false, err
	}
	return inlineCursor(rec, i)
}

// readIndex returns the index page of a task; nil where there is none. It shares memory with tx.
func readIndex(tx *bolt.Tx, job uint64, i uint32) ([]byte, error) {
	return get(tx, indexBucket, key6432(job, i/fsm.PageTasks))
}

// inlineCursor finds the cursor of a task that is in no index page, in the record of its job.
func inlineCursor(rec *logpb.JobRecord, i uint32) (cursor uint32, ok bool, err error) {
	for _, s := range rec.InlineSegments {
		for _, r := range s.Ranges {
			if i >= r.First && i < r.First+r.Count {
				return cursor + i - r.First, true, nil
			}
			cursor += r.Count
		}
	}
	if rec.FinishedNs != 0 && i < rec.Total {
		return 0, false, fmt.Errorf("%w: job %d has ended, but there is no outcome of task %d", ErrCorrupt, rec.Id, i)
	}
	return 0, false, nil
}

// readSegments returns segments from the one with cursor on, up to about limit bytes.
func readSegments(tx *bolt.Tx, job uint64, cursor uint32, limit int) ([]fsm.ResultSegment, error) {
	c := tx.Bucket(resultsBucket).Cursor()
	k, v := c.Seek(key6432(job, cursor))
	if k == nil || !bytes.Equal(k, key6432(job, cursor)) {
		// The record with it begins before it.
		k, v = c.Prev()
	}
	var out []fsm.ResultSegment
	if k == nil || binary.BigEndian.Uint64(k) != job {
		rec, err := readJob(tx, job)
		if err != nil || rec == nil {
			return nil, err
		}
		appendFrom(&out, rec.InlineSegments, 0, cursor)
		return out, nil
	}
	for size := 0; k != nil && binary.BigEndian.Uint64(k) == job && size < limit; k, v = c.Next() {
		value, err := unseal(resultsBucket, k, v)
		if err != nil {
			return nil, err
		}
		rec := &logpb.Segments{}
		if err := decode(resultsBucket, k, value, rec); err != nil {
			return nil, err
		}
		size += len(value)
		appendFrom(&out, rec.Segments, binary.BigEndian.Uint32(k[8:]), cursor)
	}
	return out, nil
}

// appendFrom appends segments, the first of which begins at first, but for those
// that end before cursor.
func appendFrom(out *[]fsm.ResultSegment, segments []*logpb.Segment, first, cursor uint32) {
	for _, s := range segments {
		n := uint32(0)
		for _, r := range s.Ranges {
			n += r.Count
		}
		if first+n > cursor {
			*out = append(*out, fsm.ResultSegment{First: first, Count: n, Segment: s})
		}
		first += n
	}
}

// readPayloads returns the packed payloads of the first n of count tasks from first on: of all, or of those that are
// on disk, but of no more records than a number, and at least of one task.
func readPayloads(tx *bolt.Tx, job uint64, first, count uint32, records int) (packed []byte, n uint32, err error) {
	c := tx.Bucket(payloadsBucket).Cursor()
	k, v := c.Seek(key6432(job, first))
	if k == nil || !bytes.Equal(k, key6432(job, first)) {
		// The record with it begins before it.
		k, v = c.Prev()
	}
	if k == nil || binary.BigEndian.Uint64(k) != job {
		return readInlinePayloads(tx, job, first, count)
	}
	for ; n < count && records > 0 && k != nil && binary.BigEndian.Uint64(k) == job; k, v = c.Next() {
		records--
		value, err := unseal(payloadsBucket, k, v)
		if err != nil {
			return nil, 0, err
		}
		at := binary.BigEndian.Uint32(k[8:])
		if len(value) < 4 || at > first+n {
			return nil, 0, fmt.Errorf("%w: the payloads of job %d have a gap before %d", ErrCorrupt, job, at)
		}
		end := at + binary.BigEndian.Uint32(value)
		if end <= first+n {
			break // the last one on disk ends before it
		}
		take := min(count-n, end-first-n)
		part, err := sliceOf(value[4:], first+n-at, take, job)
		if err != nil {
			return nil, 0, err
		}
		packed, n = append(packed, part...), n+take
	}
	if n == 0 {
		return nil, 0, task.Errorf(task.KindNotFound, "task %d.%d has no payload on disk", job, first)
	}
	return packed, n, nil
}

func readInlinePayloads(tx *bolt.Tx, job uint64, first, count uint32) (packed []byte, n uint32, err error) {
	rec, err := readJob(tx, job)
	if err != nil {
		return nil, 0, err
	}
	n = min(count, rec.GetInlineTasks().GetCount()-min(first, rec.GetInlineTasks().GetCount()))
	switch {
	case rec == nil:
		return nil, 0, fsm.NoSuchJob(job)
	case first >= rec.Total || !rec.OwnPayloads:
		return nil, 0, task.Errorf(task.KindNotFound, "task %d.%d has no payload of its own", job, first)
	case n == 0:
		return nil, 0, fmt.Errorf("%w: no payload of task %d.%d", ErrCorrupt, job, first)
	}
	packed, err = sliceOf(rec.InlineTasks.Packed, first, n, job)
	return packed, n, err
}

func sliceOf(packed []byte, skip, count uint32, job uint64) ([]byte, error) {
	from, ok1 := task.PackSkip(packed, int(skip))
	rest, ok2 := task.PackSkip(from, int(count))
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("%w: payloads of job %d are cut short", ErrCorrupt, job)
	}
	return bytes.Clone(from[:len(from)-len(rest)]), nil
}

// eachOf calls f for each sealed value of a job in a bucket, by its second key.
func eachOf(tx *bolt.Tx, bucket, job []byte, f func(n uint32, value []byte) error) error {
	c := tx.Bucket(bucket).Cursor()
	for k, v := c.Seek(job); k != nil && bytes.HasPrefix(k, job); k, v = c.Next() {
		value, err := unseal(bucket, k, v)
		if err != nil {
			return err
		}
		if err := f(binary.BigEndian.Uint32(k[8:]), value); err != nil {
			return err
		}
	}
	return nil
}

// sizeOf is how many bytes a finished job has in the file, keys included, and its spec where
// no other has that but those of which this was asked before. The pages that hold them take
// somewhat more.
func sizeOf(tx *bolt.Tx, id uint64, asked specChanges) (size int64, err error) {
	record := tx.Bucket(jobsBucket).Get(key64(id))
	size = int64(len(record))
	if spec, err := specIDOf(record); err != nil || len(spec) == len(fsm.SpecID{}) {
		if err != nil {
			return 0, err
		}
		change := asked.of(fsm.SpecID(spec))
		change.jobs++
		refs, err := readRefs(tx, spec)
		if err != nil {
			return 0, err
		}
		if int64(refs) == change.jobs {
			size += int64(len(tx.Bucket(specsBucket).Get(spec)))
		}
	}
	for _, bucket := range [][]byte{appendsBucket, attemptsBucket, payloadsBucket, resultsBucket, indexBucket} {
		c := tx.Bucket(bucket).Cursor()
		last := key6432(id, math.MaxUint32)
		for k, v := c.Seek(key6432(id, 0)); k != nil && bytes.Compare(k, last) <= 0; k, v = c.Next() {
			size += int64(len(k) + len(v))
		}
	}
	return size, nil
}
