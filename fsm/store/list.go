package store

import (
	"cmp"
	"encoding/binary"
	"errors"
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
// no more; walked is how much was read for it, bytes.
//
// No job is in two answers or between two, however it moves from memory to the disk meanwhile:
// its id stays, and each answer has all that there are from its beginning down to next.
func (s *State) JobsBelow(id uint64, limit int) (out []*logpb.JobRecord, next uint64, walked int, err error) {
	err = s.read(func(p *pair) error {
		inMemory := p.machine.JobsBelow(id, limit)
		// Behind the look into memory: what has left it is on disk by now.
		err := p.db.view(func(tx *bolt.Tx) (err error) {
			out, next, walked, err = listJobs(tx, inMemory, id, limit)
			return err
		})
		if err != nil {
			return err
		}
		// The machine is asked behind the transaction, in which nobody may wait for it.
		out = slices.DeleteFunc(out, func(r *logpb.JobRecord) bool { return r.Id < next || p.machine.Collected(r.Id) })
		slices.SortFunc(out, func(a, b *logpb.JobRecord) int { return cmp.Compare(b.Id, a.Id) })
		if len(out) > limit {
			out, next = out[:limit], out[limit-1].Id
		}
		return nil
	})
	return out, next, walked, err
}

// listJobs returns what JobsBelow does, of those that are in memory and those on disk.
func listJobs(tx *bolt.Tx, inMemory []*logpb.JobRecord, id uint64, limit int) (out []*logpb.JobRecord, next uint64, walked int, err error) {
	specs := map[fsm.SpecID][]byte{}
	live := &listing{tx: tx, limit: limit, specs: specs}
	for k, rec := range inMemory {
		live.walked += len(rec.Spec)
		if err := live.add(rec); err != nil {
			return nil, 0, 0, err
		}
		if live.full() || k+1 == limit {
			live.end = rec.Id
			break
		}
	}
	stored := &listing{tx: tx, limit: limit, specs: specs, end: live.end}
	c := tx.Bucket(jobsBucket).Cursor()
	for k, v := below(c, id); k != nil && binary.BigEndian.Uint64(k) >= live.end; k, v = c.Prev() {
		at := binary.BigEndian.Uint64(k)
		// What is in memory is newer than its record on disk.
		if _, found := slices.BinarySearchFunc(inMemory, at, func(r *logpb.JobRecord, id uint64) int { return cmp.Compare(id, r.Id) }); found {
			continue
		}
		rec, err := listedRecord(k, v)
		if err != nil {
			return nil, 0, 0, err
		}
		stored.walked += len(v)
		if err := stored.add(rec); err != nil {
			return nil, 0, 0, err
		}
		if stored.full() {
			stored.end = at
			break
		}
	}
	return append(live.records, stored.records...), max(live.end, stored.end), live.walked + stored.walked, nil
}

// listing is records as a list shows them.
type listing struct {
	tx      *bolt.Tx
	limit   int
	records []*logpb.JobRecord
	// size is how large they are, and walked what was read of the file for them, bytes.
	size, walked int
	// end is the last id down to which it has all; 0: there are no more.
	end uint64
	// specs is those that stand apart and were read.
	specs map[fsm.SpecID][]byte
}

func (l *listing) full() bool {
	return l.size >= listedBytes || l.walked >= walkedBytes || len(l.records) == l.limit
}

// add adds a record, unless its job was forgotten meanwhile.
func (l *listing) add(rec *logpb.JobRecord) error {
	apart := len(rec.Spec) == 0
	if apart {
		known, ok := l.specs[fsm.SpecID(rec.SpecId)]
		if !ok {
			raw, err := readSpec(l.tx, rec.Id, rec.SpecId)
			if errors.Is(err, task.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			l.walked += len(raw)
			known = raw
		}
		rec.Spec = known
	}
	rec, err := fsm.Listed(rec)
	if err != nil {
		return fmt.Errorf("%w: job %d has a malformed spec: %w", ErrCorrupt, rec.GetId(), err)
	}
	if apart {
		l.specs[fsm.SpecID(rec.SpecId)] = rec.Spec
	}
	l.records = append(l.records, rec)
	l.size += len(rec.Spec) + besidesSpec
	return nil
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
	case len(rec.Spec) == 0 && len(rec.SpecId) != len(fsm.SpecID{}):
		return nil, fmt.Errorf("%w: job %d names a spec %x", ErrCorrupt, rec.Id, rec.SpecId)
	}
	return rec, nil
}
