package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
)

// inlineBytes is up to which size a job that began and ended between two flushes
// is one record, with its payloads and results in it.
const inlineBytes = 4096

// Write writes a flush batch in one synced transaction.
func (db *DB) Write(c *fsm.FlushBatch) error {
	meta := proto.CloneOf(c.Meta)
	meta.Format, meta.NodeId, meta.ServerId = format, db.id.NodeID, db.id.ServerID
	// In the filter before on disk: a reader that finds neither must be right.
	keys := make([]keyWrite, len(c.Keys))
	for i, k := range c.Keys {
		id := []byte(k.Queue + "\x00" + k.Key)
		keys[i] = keyWrite{id: id, record: k.Record, isNew: db.keys.add(id)}
	}
	leaving := false
	err := transact(db.bolt.Update, func(tx *bolt.Tx) error {
		// Jobs, results and payloads mostly arrive in the order of their keys.
		for _, name := range [][]byte{jobsBucket, appendsBucket, payloadsBucket, resultsBucket, dueBucket} {
			tx.Bucket(name).FillPercent = 0.9
		}
		specs := specChanges{}
		if err := writeJobs(tx, c.Jobs); err != nil {
			return err
		}
		for i := range c.Jobs {
			specs.add(c.Jobs[i].Spec)
		}
		for _, id := range c.Deleted {
			if err := deleteJob(tx, id, specs); err != nil {
				return fmt.Errorf("forget job %d: %w", id, err)
			}
		}
		var err error
		if leaving, err = db.leave(tx, c.Deleted); err != nil {
			return err
		}
		if err := specs.write(tx); err != nil {
			return err
		}
		if err := writeKeys(tx, keys); err != nil {
			return err
		}
		for _, s := range c.Sessions {
			if err := writeSession(tx, s); err != nil {
				return err
			}
		}
		for _, t := range c.Access {
			if err := writeAccess(tx, t); err != nil {
				return err
			}
		}
		return putProto(tx, metaBucket, metaKey, meta)
	})
	if err != nil {
		return err
	}
	db.leaving.Store(leaving)
	return db.measure()
}

func writeSession(tx *bolt.Tx, s fsm.BatchSession) error {
	if s.Record == nil {
		return remove(tx, sessionsBucket, key64(s.ID))
	}
	return putProto(tx, sessionsBucket, key64(s.ID), s.Record)
}

// keyWrite is a request key on its way to the file; record nil: it is deleted.
type keyWrite struct {
	id     []byte
	record *logpb.KeyRecord
	// isNew: nothing of it is in the file.
	isNew bool
}

func writeKeys(tx *bolt.Tx, keys []keyWrite) error {
	records, due := openTable(tx, keysBucket), openTable(tx, keyDueBucket)
	for i := range keys {
		if err := keys[i].write(records, due); err != nil {
			return err
		}
	}
	return errors.Join(records.count(), due.count())
}

func (k *keyWrite) write(records, due *table) error {
	old := &logpb.KeyRecord{}
	if !k.isNew {
		if _, err := records.getProto(k.id, old); err != nil {
			return err
		}
	}
	if old.ExpiresNs > 0 {
		if err := due.remove(append(key64(uint64(old.ExpiresNs)), k.id...)); err != nil {
			return err
		}
	}
	if k.record == nil {
		return records.remove(k.id)
	}
	put := (*table).put
	if k.isNew {
		put = (*table).add
	}
	if k.record.ExpiresNs > 0 {
		if err := put(due, append(key64(uint64(k.record.ExpiresNs)), k.id...), nil); err != nil {
			return err
		}
	}
	value, err := encode(k.record)
	if err != nil {
		return err
	}
	return put(records, k.id, value)
}

// writeJobs writes jobs, which are in the order of their ids.
func writeJobs(tx *bolt.Tx, changed []fsm.BatchJob) error {
	jobs, due := openTable(tx, jobsBucket), openTable(tx, dueBucket)
	var ends [][]byte
	for i := range changed {
		c := &changed[i]
		if c.Finished {
			ends = append(ends, key6464(uint64(c.DueNs), c.Record.Id))
		}
		if err := writeJob(tx, jobs, c); err != nil {
			return fmt.Errorf("job %d: %w", c.Record.Id, err)
		}
	}
	slices.SortFunc(ends, bytes.Compare)
	for _, end := range ends {
		if err := due.put(end, nil); err != nil {
			return err
		}
	}
	return errors.Join(jobs.count(), due.count())
}

func writeJob(tx *bolt.Tx, jobs *table, c *fsm.BatchJob) error {
	rec, id := c.Record, key64(c.Record.Id)
	if c.Whole() && inline(c) {
		return jobs.putProto(id, rec)
	}
	open := tx.Bucket(openBucket)
	if c.Finished {
		if err := remove(tx, openBucket, id); err != nil {
			return err
		}
	} else if open.Get(id) == nil {
		if err := put(tx, openBucket, id, nil); err != nil {
			return err
		}
	}
	if err := writeMarks(tx, rec.Id, c.Appends); err != nil {
		return err
	}
	if err := writeAttempts(tx, rec.Id, c.Attempts); err != nil {
		return err
	}
	for _, ch := range c.Chunks {
		// Copied: sealing must not write behind a slice that others read.
		value := append(make([]byte, 0, len(ch.Packed)+8), binary.BigEndian.AppendUint32(nil, ch.Count)...)
		if err := put(tx, payloadsBucket, key6432(rec.Id, ch.First), append(value, ch.Packed...)); err != nil {
			return err
		}
	}
	if err := writeSegments(tx, rec.Id, c.Segments); err != nil {
		return err
	}
	for _, p := range c.Pages {
		k := key6432(rec.Id, p.Page)
		if p.Slots == nil {
			if err := remove(tx, liveBucket, k); err != nil {
				return err
			}
		} else if err := put(tx, liveBucket, k, p.Slots); err != nil {
			return err
		}
	}
	return jobs.putProto(id, rec)
}

// inline puts marks, payloads and results of a small job into its record, in the place of what an
// attempt before has put there: a batch for which there was no space is written again. It reports
// whether the job was small enough.
func inline(c *fsm.BatchJob) bool {
	size := markBytes * len(c.Appends)
	for _, ch := range c.Chunks {
		size += len(ch.Packed)
	}
	for _, s := range c.Segments {
		size += fsm.SegmentBytes(s.Segment)
	}
	if size > inlineBytes || c.Record.Total > fsm.PageTasks || len(c.Chunks) > 1 || len(c.Attempts) > 0 {
		return false
	}
	c.Record.Appends, c.Record.InlineSegments = c.Appends, nil
	for _, ch := range c.Chunks {
		c.Record.InlineTasks = &logpb.Tasks{Count: ch.Count, Packed: ch.Packed}
	}
	for _, s := range c.Segments {
		c.Record.InlineSegments = append(c.Record.InlineSegments, s.Segment)
	}
	return true
}

// segmentsBytes is up to which size neighbouring segments share a record.
const segmentsBytes = 64 << 10

func writeSegments(tx *bolt.Tx, job uint64, segments []fsm.ResultSegment) error {
	index := map[uint32][]byte{}
	for len(segments) > 0 {
		rec, size, n := &logpb.Segments{}, 0, 0
		for n < len(segments) && (n == 0 || size < segmentsBytes) {
			s := segments[n].Segment
			rec.Segments = append(rec.Segments, s)
			size += fsm.SegmentBytes(s)
			if err := addToIndex(tx, index, job, segments[n]); err != nil {
				return err
			}
			n++
		}
		if err := putProto(tx, resultsBucket, key6432(job, segments[0].First), rec); err != nil {
			return err
		}
		segments = segments[n:]
	}
	for _, page := range slices.Sorted(maps.Keys(index)) { // in the order of their keys
		value := index[page]
		if err := put(tx, indexBucket, key6432(job, page), packIndex(value)); err != nil {
			return err
		}
	}
	return nil
}

// addToIndex notes the cursors of a segment's tasks in index, into which pages are
// read from the file as they are needed.
func addToIndex(tx *bolt.Tx, index map[uint32][]byte, job uint64, s fsm.ResultSegment) error {
	cursor := s.First
	for _, r := range s.Segment.Ranges {
		for i, end := r.First, r.First+r.Count; i < end; {
			n := i / fsm.PageTasks
			in := min(end, (n+1)*fsm.PageTasks) - i // of this page
			page := index[n]
			if page == nil {
				old, err := get(tx, indexBucket, key6432(job, n))
				if err != nil {
					return err
				}
				if in == fsm.PageTasks && old == nil {
					index[n] = indexRun(cursor, in)
					i, cursor = i+in, cursor+in
					continue
				}
				page = unpackIndex(old)
			} else if len(page) == runBytes {
				page = unpackIndex(page)
			}
			index[n] = page
			for range in {
				binary.BigEndian.PutUint32(page[4*(i%fsm.PageTasks):], cursor+1)
				i, cursor = i+1, cursor+1
			}
		}
	}
	return nil
}

// deleteJob forgets a finished job: its record, its time, and its spec with the last job that has it. What else
// there is of it leaves with more time, see leaver.
func deleteJob(tx *bolt.Tx, id uint64, specs specChanges) error {
	rec := &logpb.JobRecord{}
	ok, err := getProto(tx, jobsBucket, key64(id), rec)
	if err != nil || !ok {
		return err
	}
	due := key6464(uint64(fsm.Due(rec)), id)
	if err := remove(tx, dueBucket, due); err != nil {
		return err
	}
	if err := specs.remove(rec); err != nil {
		return err
	}
	return remove(tx, jobsBucket, key64(id))
}
