package store

import (
	"bytes"
	"encoding/binary"

	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

// The machine knows which jobs and keys were forgotten already and leave the file with the next
// flush. It is asked behind each transaction, never within: see fsm.InTransaction.

// Due returns what may be forgotten at now, as far as it is on disk, the earliest first: up to
// limit finished jobs, and as many request keys, but for those that were forgotten already.
func (s *State) Due(now int64, limit int) (jobs []uint64, keys []*logpb.KeyRef, err error) {
	err = s.read(func(p *pair) (err error) {
		jobs, err = collect(p, dueBucket, now, limit, func(k []byte) (uint64, bool) {
			id := binary.BigEndian.Uint64(k[8:])
			return id, !p.machine.Collected(id)
		})
		if err != nil {
			return err
		}
		keys, err = collect(p, keyDueBucket, now, limit, func(k []byte) (*logpb.KeyRef, bool) {
			queue, key, _ := bytes.Cut(k[8:], []byte{0})
			ref := &logpb.KeyRef{Queue: string(queue), Key: string(key)}
			return ref, !p.machine.KeyCollected(ref.Queue, ref.Key)
		})
		return err
	})
	return jobs, keys, err
}

// collect returns up to limit of what stands in a bucket by a time that is not after now, in
// its order. known says what a key is, and whether it is wanted.
func collect[T any](p *pair, bucket []byte, now int64, limit int, known func(k []byte) (T, bool)) (out []T, err error) {
	for after := []byte(nil); len(out) < limit; {
		page, err := p.db.dueAfter(bucket, after, now, limit)
		if err != nil {
			return nil, err
		}
		for _, k := range page {
			if item, wanted := known(k); wanted && len(out) < limit {
				out = append(out, item)
			}
		}
		if len(page) < limit {
			break
		}
		after = page[len(page)-1]
	}
	return out, nil
}

// dueAfter returns up to limit keys of a bucket behind the key after, nil: from the first on,
// whose time is not after now.
func (db *DB) dueAfter(bucket, after []byte, now int64, limit int) (page [][]byte, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		for k, v := behind(c, after); k != nil && len(page) < limit && int64(binary.BigEndian.Uint64(k)) <= now; k, v = c.Next() {
			if _, err := unseal(bucket, k, v); err != nil {
				return err
			}
			page = append(page, bytes.Clone(k))
		}
		return nil
	})
	return page, err
}

// behind puts a cursor on the first key behind after; nil: on the first of all.
func behind(c *bolt.Cursor, after []byte) (k, v []byte) {
	if after == nil {
		return c.First()
	}
	if k, v = c.Seek(after); bytes.Equal(k, after) {
		return c.Next()
	}
	return k, v
}

// Excess returns finished jobs that must be forgotten for no more than room bytes of the file
// to be in use, those first whose time comes first; limit at most. Those that were forgotten
// already count, and are not returned; none are while something of them is left in the file.
func (s *State) Excess(room int64, limit int) (jobs []uint64, err error) {
	err = s.read(func(p *pair) error {
		jobs = nil
		if p.db.leaving.Load() {
			return nil // there will be more room before long, and no sooner for more that is forgotten
		}
		specs := specChanges{}
		excess := p.db.Used() - room
		for after := []byte(nil); excess > 0 && len(jobs) < limit; {
			page, err := p.db.sizesAfter(after, limit, excess, specs)
			if err != nil || len(page) == 0 {
				return err
			}
			if after == nil {
				// Once more behind the transaction: a flush in between makes it less, never more.
				excess = p.db.Used() - room
			}
			for _, j := range page {
				if excess <= 0 {
					return nil
				}
				excess -= j.bytes
				if !p.machine.Collected(j.id) && len(jobs) < limit {
					jobs = append(jobs, j.id)
				}
			}
			after = page[len(page)-1].due
		}
		return nil
	})
	return jobs, err
}

// finishedJob is a finished job on disk, with its key among those that are due.
type finishedJob struct {
	id    uint64
	due   []byte
	bytes int64
}

// sizesAfter returns up to limit finished jobs behind the key after, nil: from the first on,
// and no more than have so many bytes.
func (db *DB) sizesAfter(after []byte, limit int, size int64, specs specChanges) (page []finishedJob, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(dueBucket).Cursor()
		for k, v := behind(c, after); k != nil && len(page) < limit && size > 0; k, v = c.Next() {
			if _, err := unseal(dueBucket, k, v); err != nil {
				return err
			}
			id := binary.BigEndian.Uint64(k[8:])
			n, err := sizeOf(tx, id, specs)
			if err != nil {
				return err
			}
			page, size = append(page, finishedJob{id, bytes.Clone(k), n}), size-n
		}
		return nil
	})
	return page, err
}
