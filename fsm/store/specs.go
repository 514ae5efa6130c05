package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// A large spec is written once, apart from the records of its jobs, under the hash of what it
// is. How many jobs have it is a record of its own: the spec itself is never written again.

// refBytes is the size of a count of jobs.
const refBytes = 8

// specChanges is what a flush changes of the specs that stand apart.
type specChanges map[fsm.SpecID]*specChange

type specChange struct {
	// raw is the spec; nil: it is on disk.
	raw []byte
	// jobs is how many jobs more have it.
	jobs int64
}

func (c specChanges) of(id fsm.SpecID) *specChange {
	if c[id] == nil {
		c[id] = &specChange{}
	}
	return c[id]
}

// add notes that one job more has a spec; nil: none has.
func (c specChanges) add(s *fsm.BatchSpec) {
	if s == nil {
		return
	}
	change := c.of(s.ID)
	change.jobs++
	if s.Raw != nil {
		change.raw = s.Raw
	}
}

// remove notes that a job is deleted.
func (c specChanges) remove(rec *logpb.JobRecord) error {
	switch len(rec.SpecId) {
	case 0: // it has its spec within
	case len(fsm.SpecID{}):
		c.of(fsm.SpecID(rec.SpecId)).jobs--
	default:
		return fmt.Errorf("%w: job %d names a spec %x", ErrCorrupt, rec.Id, rec.SpecId)
	}
	return nil
}

// write writes them, in the order of their keys.
func (c specChanges) write(tx *bolt.Tx) error {
	ids := make([]fsm.SpecID, 0, len(c))
	for id := range c {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b fsm.SpecID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range ids {
		if err := c[id].write(tx, id[:]); err != nil {
			return fmt.Errorf("spec %x: %w", id, err)
		}
	}
	return nil
}

func (c *specChange) write(tx *bolt.Tx, id []byte) error {
	had, err := readRefs(tx, id)
	if err != nil {
		return err
	}
	jobs := int64(had) + c.jobs
	switch {
	case jobs < 0 || jobs > 0 && had == 0 && c.raw == nil:
		return fmt.Errorf("%w: %d jobs have it, %d of them on disk", ErrCorrupt, jobs, had)
	case c.jobs == 0:
		return nil
	case jobs == 0:
		if err := remove(tx, specsBucket, id); err != nil {
			return err
		}
		return remove(tx, specRefsBucket, id)
	case had == 0:
		// Copied: sealing must not write behind a slice that others read.
		value := append(make([]byte, 0, len(c.raw)+sealBytes), c.raw...)
		if err := put(tx, specsBucket, id, value); err != nil {
			return err
		}
	}
	return put(tx, specRefsBucket, id, binary.BigEndian.AppendUint64(make([]byte, 0, refBytes+sealBytes), uint64(jobs)))
}

// readRefs returns how many jobs on disk have a spec.
func readRefs(tx *bolt.Tx, id []byte) (uint64, error) {
	value, err := get(tx, specRefsBucket, id)
	switch {
	case err != nil || value == nil:
		return 0, err
	case len(value) != refBytes:
		return 0, fmt.Errorf("%w: %s/%x has %d bytes", ErrCorrupt, specRefsBucket, id, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

// getSpec returns the spec of a job's record. It may share memory with tx.
func getSpec(tx *bolt.Tx, rec *logpb.JobRecord) ([]byte, error) {
	if len(rec.SpecId) == 0 {
		return rec.Spec, nil
	}
	raw, err := get(tx, specsBucket, rec.SpecId)
	if err == nil && raw == nil {
		err = fmt.Errorf("%w: there is no spec of job %d", ErrCorrupt, rec.Id)
	}
	return raw, err
}

// readSpec returns the spec of a job, by its name or, where that is not there, as the job's
// record has it. It may share memory with tx.
func readSpec(tx *bolt.Tx, job uint64, id []byte) ([]byte, error) {
	if raw, err := get(tx, specsBucket, id); err != nil || raw != nil {
		return raw, err
	}
	rec, err := readJob(tx, job)
	if err == nil && rec == nil {
		err = fsm.NoSuchJob(job)
	}
	if err != nil {
		return nil, err
	}
	return getSpec(tx, rec)
}

// Spec returns the spec of a job's record: all of it, or what of it a listed record has. It must
// not be changed.
func (s *State) Spec(rec *logpb.JobRecord) (spec *task.Spec, err error) {
	err = s.read(func(p *pair) (err error) {
		raw := rec.Spec
		if len(raw) == 0 {
			ref, _ := p.machine.SpecOf(rec.Id)
			raw = ref.Raw
		}
		if len(raw) > 0 {
			spec, err = decodeSpec(rec.Id, raw)
			return err
		}
		return p.viewJob(rec.Id, func(tx *bolt.Tx) error {
			raw, err := readSpec(tx, rec.Id, rec.SpecId)
			if err != nil {
				return err
			}
			if spec, err = decodeSpec(rec.Id, raw); err == nil {
				spec.SharedPayload = bytes.Clone(spec.SharedPayload) // out of the transaction
			}
			return err
		})
	})
	return spec, err
}

// WholeSpec returns all of the spec that memory knows as ref. It must not be changed.
func (s *State) WholeSpec(job uint64, ref fsm.JobSpec) (*task.Spec, error) {
	if ref.Whole {
		return ref.Spec, nil
	}
	return s.Spec(&logpb.JobRecord{Id: job, SpecId: ref.ID[:]})
}

func decodeSpec(job uint64, raw []byte) (*task.Spec, error) {
	spec, err := fsm.DecodeSpec(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: job %d has a malformed spec: %w", ErrCorrupt, job, err)
	}
	task.StoredRules.SetDefaults(spec)
	return spec, nil
}

// checkSpecs checks that each spec that stands apart is there, with as many jobs as it counts,
// and that no job names another one.
func checkSpecs(tx *bolt.Tx) error {
	jobs := map[fsm.SpecID]uint64{}
	err := tx.Bucket(jobsBucket).ForEach(func(k, v []byte) error {
		id, err := specIDOf(v)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %s/%x: %w", ErrCorrupt, jobsBucket, k, err)
		case len(id) == len(fsm.SpecID{}):
			jobs[fsm.SpecID(id)]++
		case len(id) != 0:
			return fmt.Errorf("%w: %s/%x names a spec %x", ErrCorrupt, jobsBucket, k, id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id, n := range jobs {
		refs, err := readRefs(tx, id[:])
		if err != nil {
			return err
		}
		if tx.Bucket(specsBucket).Get(id[:]) == nil || refs != n {
			return fmt.Errorf("%w: spec %x counts %d jobs, has %d", ErrCorrupt, id, refs, n)
		}
	}
	// Those that are not there were found above: these are too many.
	for _, name := range [][]byte{specsBucket, specRefsBucket} {
		err := tx.Bucket(name).ForEach(func(id, _ []byte) error {
			if len(id) != len(fsm.SpecID{}) || jobs[fsm.SpecID(id)] == 0 {
				return fmt.Errorf("%w: no job has the spec %x", ErrCorrupt, id)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// specIDField is the number of JobRecord.spec_id.
const specIDField = 25

// specIDOf finds the name of its spec in a job's sealed record, which may be large; nil: there
// is none.
func specIDOf(sealed []byte) (id []byte, err error) {
	for rest := sealed[:max(0, len(sealed)-sealBytes)]; len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		size := protowire.ConsumeFieldValue(number, kind, rest[n:])
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		if number == specIDField && kind == protowire.BytesType {
			id, _ = protowire.ConsumeBytes(rest[n:])
		}
		rest = rest[n+size:]
	}
	return id, nil
}
