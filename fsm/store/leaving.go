package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// A job of ten million tasks may have a hundred thousand records and more, with gigabytes of payloads and results.
// When it is forgotten its own record goes at once, so that there is no such job any more; the others leave some at
// a time, with the next flushes. Results that wait for the disk would wait for all of them otherwise, and Apply
// after them. How far it is, is this server's own business: what is left is in no digest, and nobody can read it.

const (
	// leavingRecords is how many records of forgotten jobs leave with a flush: about 10 ms of its time. Of
	// small jobs that is a thousand, more than can end meanwhile.
	leavingRecords = 4096
	// leavingBytes counts as a record more: what is on pages of its own is given back page by page.
	leavingBytes = 16 << 10
)

// leaver deletes records of forgotten jobs in a transaction.
type leaver struct {
	tx *bolt.Tx
	// budget is how many records more it may delete.
	budget int
}

// leave deletes what is left of jobs that were forgotten before, and of those that are forgotten now, as far as
// one transaction may. It reports whether something is left.
func (db *DB) leave(tx *bolt.Tx, now []uint64) (left bool, err error) {
	l := &leaver{tx: tx, budget: cmp.Or(db.leaveAtOnce, leavingRecords)}
	if left, err = l.before(); err != nil {
		return false, err
	}
	for _, id := range now {
		all, err := l.job(id)
		if err == nil && !all {
			left, err = true, put(tx, leavingBucket, key64(id), nil)
		}
		if err != nil {
			return false, fmt.Errorf("forget job %d: %w", id, err)
		}
	}
	return left, nil
}

// before goes on with jobs that were forgotten in other transactions.
func (l *leaver) before() (left bool, err error) {
	c := l.tx.Bucket(leavingBucket).Cursor()
	for k, v := c.First(); k != nil; k, v = c.First() {
		if l.budget <= 0 {
			return true, nil
		}
		if _, err := unseal(leavingBucket, k, v); err != nil {
			return false, err
		}
		all, err := l.job(binary.BigEndian.Uint64(k))
		if err != nil || !all {
			return true, err
		}
		if err := remove(l.tx, leavingBucket, bytes.Clone(k)); err != nil {
			return false, err
		}
	}
	return false, nil
}

// job deletes the records of a job, and reports whether those are all.
func (l *leaver) job(id uint64) (all bool, err error) {
	l.budget-- // to look costs, too
	for _, name := range [][]byte{appendsBucket, attemptsBucket, payloadsBucket, resultsBucket, indexBucket, liveBucket} {
		if all, err = l.bucket(name, key64(id)); err != nil || !all {
			return false, err
		}
	}
	return true, nil
}

// bucket deletes the records of a job in a bucket, the first ones first. Their keys are gathered before any is
// deleted: a cursor goes through each page that it has emptied again, for each key that it looks for.
func (l *leaver) bucket(name, job []byte) (all bool, err error) {
	b := l.tx.Bucket(name)
	var keys [][]byte
	c := b.Cursor()
	k, v := c.Seek(job)
	for ; bytes.HasPrefix(k, job) && l.budget > 0; k, v = c.Next() {
		keys = append(keys, bytes.Clone(k))
		l.budget -= 1 + len(v)/leavingBytes
	}
	if len(keys) == 0 {
		return !bytes.HasPrefix(k, job), nil
	}
	for _, key := range keys {
		if err := b.Delete(key); err != nil {
			return false, err
		}
	}
	return !bytes.HasPrefix(k, job), counted(b, -len(keys))
}

// leaveOn goes on where there is nothing else to write.
func (db *DB) leaveOn() error {
	if !db.leaving.Load() {
		return nil
	}
	left := false
	err := transact(db.bolt.Update, func(tx *bolt.Tx) (err error) {
		left, err = db.leave(tx, nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", db.path, err)
	}
	db.leaving.Store(left)
	return db.measure()
}

// seeLeaving finds out whether there is something left in a file that was opened.
func (db *DB) seeLeaving() error {
	return db.view(func(tx *bolt.Tx) error {
		k, _ := tx.Bucket(leavingBucket).Cursor().First()
		db.leaving.Store(k != nil)
		return nil
	})
}
