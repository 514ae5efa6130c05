package store

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

const (
	// listedBytes is about how much JobsBelow returns at once, bytes. A single record may
	// be larger: a spec without its payload has some 250 KiB at most.
	listedBytes = 256 << 10
	// walkedBytes is about how much of the file it reads for that: a checksum is over all of
	// a record, and so over what no list shows.
	walkedBytes = 16 << 20
	// besidesSpec is about what a listed record has beside its spec, bytes.
	besidesSpec = 256
)

// JobsBelow returns records of jobs with ids below id (0: from the newest on), in falling order,
// as a list shows them: without payloads, results and marks of appends. It returns limit of
// them, or fewer where they are large. next is the id below which to go on, 0 where there are
// no more.
//
// No job is in two answers or between two, however it moves from memory to the disk meanwhile:
// its id stays, and each answer has all that there are from its beginning down to next.
func (s *State) JobsBelow(id uint64, limit int) (out []*logpb.JobRecord, next uint64, err error) {
	err = s.read(func(p *pair) error {
		live, liveEnd, err := listLive(p.machine, id, limit)
		if err != nil {
			return err
		}
		// Behind the look into memory: what has left it is on disk by now.
		stored, storedEnd, err := p.db.jobsBelow(id, liveEnd, limit, func(id uint64) bool {
			// What is in memory is newer than its record on disk.
			_, found := slices.BinarySearchFunc(live, id, func(r *logpb.JobRecord, id uint64) int { return cmp.Compare(id, r.Id) })
			return found
		})
		if err != nil {
			return err
		}
		next = max(liveEnd, storedEnd)
		// The machine is asked behind the transaction, in which nobody may wait for it.
		out = slices.DeleteFunc(append(live, stored...), func(r *logpb.JobRecord) bool { return r.Id < next || p.machine.Collected(r.Id) })
		slices.SortFunc(out, func(a, b *logpb.JobRecord) int { return cmp.Compare(b.Id, a.Id) })
		if len(out) > limit {
			out, next = out[:limit], out[limit-1].Id
		}
		return nil
	})
	return out, next, err
}

// listLive is the part of JobsBelow that is in memory. end is the last id down to which it
// has all, 0 where there are no more.
func listLive(m *fsm.Machine, id uint64, limit int) (out []*logpb.JobRecord, end uint64, err error) {
	size := 0
	for _, rec := range m.JobsBelow(id, limit) {
		if rec, err = fsm.Listed(rec); err != nil {
			return nil, 0, err
		}
		out = append(out, rec)
		if size += len(rec.Spec) + besidesSpec; size >= listedBytes || len(out) == limit {
			return out, rec.Id, nil
		}
	}
	return out, 0, nil
}

// jobsBelow is the part that is on disk, down to an id, but for what is to be skipped.
func (db *DB) jobsBelow(id, downTo uint64, limit int, skip func(id uint64) bool) (out []*logpb.JobRecord, end uint64, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		out, end = nil, downTo
		size, walked := 0, 0
		c := tx.Bucket(jobsBucket).Cursor()
		for k, v := below(c, id); k != nil && binary.BigEndian.Uint64(k) >= downTo; k, v = c.Prev() {
			at := binary.BigEndian.Uint64(k)
			if skip(at) {
				continue
			}
			rec, err := listedRecord(k, v)
			if err != nil {
				return err
			}
			out = append(out, rec)
			walked += len(v)
			if size += len(rec.Spec) + besidesSpec; size >= listedBytes || walked >= walkedBytes || len(out) == limit {
				end = at
				return nil
			}
		}
		return nil
	})
	return out, end, err
}

// below puts a cursor on the last key below that of id; 0: on the last of all.
func below(c *bolt.Cursor, id uint64) (k, v []byte) {
	if id != 0 {
		if at, _ := c.Seek(key64(id)); at != nil {
			return c.Prev()
		}
	}
	return c.Last()
}

func listedRecord(k, v []byte) (*logpb.JobRecord, error) {
	value, err := unseal(jobsBucket, k, v)
	if err != nil {
		return nil, err
	}
	rec, err := fsm.DecodeListed(value)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %s/%x: %w", ErrCorrupt, jobsBucket, k, err)
	case len(rec.Counts) != task.NumStates:
		return nil, fmt.Errorf("%w: job %d has %d counts", ErrCorrupt, rec.Id, len(rec.Counts))
	}
	return rec, nil
}
