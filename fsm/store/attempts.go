package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Attempts that did not end their tasks are records beside their job's: it would be written again with
// each of them. Their keys are job, number of the attempt, first task, so that one attempt of a task
// is found by one look, however many tasks its record is about.

func attemptKey(job uint64, attempt, first uint32) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 16), job)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, attempt), first)
}

func writeAttempts(tx *bolt.Tx, job uint64, attempts []*logpb.Attempt) error {
	for _, a := range attempts {
		if a.Attempt > task.MaxAttemptsKept {
			if err := dropAttempts(tx, job, a.Attempt-task.MaxAttemptsKept, a.First, a.First+a.Count); err != nil {
				return err
			}
		}
		if err := putProto(tx, attemptsBucket, attemptKey(job, a.Attempt, a.First), a); err != nil {
			return err
		}
	}
	return nil
}

// dropAttempts forgets the attempts of a number of the tasks from first to end - 1. Their records may be
// about others as well.
func dropAttempts(tx *bolt.Tx, job uint64, attempt, first, end uint32) error {
	var cut []*logpb.Attempt
	c := tx.Bucket(attemptsBucket).Cursor()
	for k, v := seekAttempt(c, job, attempt, first); k != nil && bytes.Compare(k, attemptKey(job, attempt, end)) < 0; k, v = c.Next() {
		a, err := decodeAttempt(k, v)
		if err != nil {
			return err
		}
		if a.Attempt == attempt && a.First+a.Count > first {
			cut = append(cut, a)
		}
	}
	for _, a := range cut {
		if err := remove(tx, attemptsBucket, attemptKey(job, attempt, a.First)); err != nil {
			return err
		}
		for _, left := range fsm.AttemptWithout(a, first, end) {
			if err := putProto(tx, attemptsBucket, attemptKey(job, attempt, left.First), left); err != nil {
				return err
			}
		}
	}
	return nil
}

// seekAttempt puts a cursor on the record that may have an attempt of task i, or on the next one.
func seekAttempt(c *bolt.Cursor, job uint64, attempt, i uint32) (k, v []byte) {
	key := attemptKey(job, attempt, i)
	if k, v = c.Seek(key); bytes.Equal(k, key) {
		return k, v
	}
	// The record with it begins before it.
	if before, value := c.Prev(); before != nil && bytes.HasPrefix(before, key[:12]) {
		return before, value
	}
	return c.Seek(key)
}

func decodeAttempt(k, sealed []byte) (*logpb.Attempt, error) {
	value, err := unseal(attemptsBucket, k, sealed)
	if err != nil {
		return nil, err
	}
	a := &logpb.Attempt{}
	if err := decode(attemptsBucket, k, value, a); err != nil {
		return nil, err
	}
	if !bytes.Equal(k[8:], attemptKey(0, a.Attempt, a.First)[8:]) || a.Count == 0 || a.Count > math.MaxUint32-a.First {
		return nil, fmt.Errorf("%w: %s/%x is about attempt %d of %d tasks from %d on", ErrCorrupt, attemptsBucket, k, a.Attempt, a.Count, a.First)
	}
	return a, nil
}

// readAttempt returns the record that has an attempt of task i; nil: there is none.
func readAttempt(tx *bolt.Tx, job uint64, attempt, i uint32) (*logpb.Attempt, error) {
	k, v := seekAttempt(tx.Bucket(attemptsBucket).Cursor(), job, attempt, i)
	if !bytes.HasPrefix(k, attemptKey(job, attempt, i)[:12]) {
		return nil, nil
	}
	a, err := decodeAttempt(k, v)
	if err != nil || i < a.First || i-a.First >= a.Count {
		return nil, err
	}
	return a, nil
}

// Attempts returns the records of the attempts of task i, whose newest one has a number, that did not end it:
// as many as are kept, in their order.
func (s *State) Attempts(id uint64, i, newest uint32) (out []*logpb.Attempt, err error) {
	err = s.read(func(p *pair) error {
		found := map[uint32]*logpb.Attempt{}
		inMemory := p.machine.Attempts(id, i)
		// Behind the look into memory: what has left it is on disk by now.
		err := p.viewJob(id, func(tx *bolt.Tx) error {
			for n := newest; n > 0 && newest-n <= task.MaxAttemptsKept; n-- {
				a, err := readAttempt(tx, id, n, i)
				if err != nil {
					return err
				}
				if a != nil {
					found[n] = a
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, a := range inMemory {
			found[a.Attempt] = a
		}
		out = out[:0]
		for n := newest; n > 0 && newest-n <= task.MaxAttemptsKept && len(out) < task.MaxAttemptsKept; n-- {
			if a := found[n]; a != nil {
				out = append(out, a)
			}
		}
		slices.Reverse(out)
		return nil
	})
	return out, err
}

// LastAttempt returns of the records of the attempts of a job's tasks that did not end them one with the
// highest number; nil: there is none.
func (s *State) LastAttempt(id uint64) (last *logpb.Attempt, err error) {
	err = s.read(func(p *pair) error {
		inMemory := p.machine.LastAttempt(id)
		err := p.viewJob(id, func(tx *bolt.Tx) error {
			last = nil
			c := tx.Bucket(attemptsBucket).Cursor()
			k, v := c.Seek(attemptKey(id, math.MaxUint32, math.MaxUint32))
			if k == nil {
				k, v = c.Last()
			} else if !bytes.HasPrefix(k, key64(id)) {
				k, v = c.Prev()
			}
			if !bytes.HasPrefix(k, key64(id)) {
				return nil
			}
			var err error
			last, err = decodeAttempt(k, v)
			return err
		})
		if err == nil && inMemory != nil && (last == nil || inMemory.Attempt >= last.Attempt) {
			last = inMemory
		}
		return err
	})
	return last, err
}
