package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// specRefs returns how many jobs have each spec that stands apart in a file.
func specRefs(t *testing.T, db *DB) map[fsm.SpecID]uint64 {
	t.Helper()
	refs := map[fsm.SpecID]uint64{}
	require.NoError(t, db.view(func(tx *bolt.Tx) error {
		return tx.Bucket(specRefsBucket).ForEach(func(id, _ []byte) error {
			n, err := readRefs(tx, id)
			refs[fsm.SpecID(id)] = n
			return err
		})
	}))
	return refs
}

// specOf reads the spec of a job.
func (b *testBundle) specOf(job uint64) *task.Spec {
	b.t.Helper()
	rec, err := b.s.Job(job)
	require.NoError(b.t, err)
	spec, err := b.s.Spec(rec)
	require.NoError(b.t, err)
	return spec
}

// written is how many bytes of pages a flush writes.
func (b *testBundle) written() int64 {
	b.t.Helper()
	pages := func() int64 { s := b.s.pair.Load().db.bolt.Stats(); return s.TxStats.GetPageAlloc() }
	before := pages()
	require.NoError(b.t, b.s.Flush())
	return pages() - before
}

// A job that makes progress is flushed ten times a second, while its payload stays the same.
func TestASharedPayloadIsWrittenOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	w := b.openSession("w")
	job := b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 10}}, sharing(task.MaxPayload))
	require.Greater(t, b.written(), int64(task.MaxPayload))
	b.work(job, 0, 1, 1, w)
	require.Less(t, b.written(), int64(task.MaxPayload)/4, "of a flush of one result")
	other := b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 10}}, sharing(task.MaxPayload))
	require.Less(t, b.written(), int64(task.MaxPayload)/4, "of another job that has the same")
	require.Equal(t, sharing(task.MaxPayload).SharedPayload, b.specOf(other).SharedPayload)
}

func TestASharedPayloadLeavesMemoryWithTheFlush(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	want := sharing(task.MaxPayload)
	want.Name, want.Meta, want.Values = "name", []task.Pair{{Key: "k", Value: "v"}}, []task.ValueRun{{First: 5, Step: 1, Count: 10}}
	job := b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 10}}, want)
	want.SetDefaults()
	ref, ok := b.s.Machine().SpecOf(job)
	require.True(t, ok)
	require.NotNil(t, ref.Raw)
	require.Nil(t, ref.Spec.SharedPayload, "it is in memory once")
	require.Equal(t, want, b.specOf(job), "from memory")
	for _, reopen := range []bool{false, true} {
		require.NoError(t, b.s.Flush())
		if reopen {
			b.reopen()
		}
		ref, ok = b.s.Machine().SpecOf(job)
		require.True(t, ok)
		require.Nil(t, ref.Raw)
		require.Nil(t, ref.Spec.SharedPayload)
		require.Equal(t, want.Values, ref.Spec.Values)
		require.Equal(t, want, b.specOf(job), "from disk")
		whole, err := b.s.WholeSpec(job, ref)
		require.NoError(t, err)
		require.Equal(t, want, whole)
	}
}

// Payloads that wait in memory to be written hold submits back.
func TestASharedPayloadIsCountedAsUnwritten(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	dirty := func() int64 { n, _ := b.s.Machine().Pending(); return n }
	submit := func(key string) {
		b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 1}, Key: key}, sharing(task.MaxPayload))
	}
	submit("a")
	require.Greater(t, dirty(), int64(task.MaxPayload))
	submit("b")
	require.Less(t, dirty(), int64(task.MaxPayload)*3/2, "it is shared")
	require.NoError(t, b.s.Flush())
	require.Zero(t, dirty())
	submit("c")
	require.Less(t, dirty(), int64(task.MaxPayload), "it is on disk")
	b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 1}}, &task.Spec{Handler: "h", Name: string(bytes.Repeat([]byte("n"), 200))})
	require.Greater(t, dirty(), int64(2*jobRecordMin+200), "a small one stands in the record")
}

// jobRecordMin is a lower bound for what a job's record counts.
const jobRecordMin = 200

func TestASpecGoesWithTheLastJobThatHasIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	w := b.openSession("w")
	tasks := &logpb.Tasks{Count: 2}
	first := b.submit(&logpb.Submit{Tasks: tasks}, sharing(inlineBytes))
	second := b.submit(&logpb.Submit{Tasks: tasks}, sharing(inlineBytes))
	require.NoError(t, b.s.Flush())
	end := func(jobs ...uint64) {
		for _, job := range jobs {
			b.work(job, 0, 2, 2, w)
		}
		b.clock += int64(task.RetainSucceeded)
		b.apply(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: jobs}}})
	}
	refs := func() (n []uint64) {
		require.NoError(t, b.s.Flush())
		for _, jobs := range specRefs(t, b.s.pair.Load().db) {
			n = append(n, jobs)
		}
		return n
	}
	require.Equal(t, []uint64{2}, refs())
	end(first)
	require.Equal(t, []uint64{1}, refs())
	require.Equal(t, sharing(inlineBytes).SharedPayload, b.specOf(second).SharedPayload)
	end(second)
	third := b.submit(&logpb.Submit{Tasks: tasks}, sharing(inlineBytes)) // before the flush that would drop it
	require.Equal(t, []uint64{1}, refs())
	require.Equal(t, sharing(inlineBytes).SharedPayload, b.specOf(third).SharedPayload)
	fourth := b.submit(&logpb.Submit{Tasks: tasks}, sharing(inlineBytes+1))
	end(third, fourth) // one that is never on disk, too
	require.Empty(t, refs())
}

// A reader's record may be older than what is on disk.
func TestASpecIsFoundWhereverItIsByNow(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	w := b.openSession("w")
	for name, size := range map[string]int{"within the record of a whole job": fsm.SpecApart + 1, "apart": inlineBytes * 2} {
		job := b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 1}}, sharing(size))
		rec, err := b.s.Job(job)
		require.NoError(t, err)
		b.work(job, 0, 1, 1, w)
		require.NoError(t, b.s.Flush())
		spec, err := b.s.Spec(rec)
		require.NoError(t, err, name)
		require.Len(t, spec.SharedPayload, size, name)
		require.Len(t, b.specOf(job).SharedPayload, size, name)
		b.clock += int64(task.RetainSucceeded)
		b.apply(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: []uint64{job}}}})
		for range 2 {
			_, err = b.s.Spec(rec)
			require.ErrorIs(t, err, task.ErrNotFound, name)
			require.NoError(t, b.s.Flush())
		}
	}
}

func TestAFileWithASpecTooManyOrTooFewIsRefused(t *testing.T) {
	t.Parallel()
	content, _ := filledFile(t)
	other := bytes.Repeat([]byte("x"), len(fsm.SpecID{}))
	for name, damage := range map[string]func(tx *bolt.Tx, id, spec []byte) error{
		"no spec":  func(tx *bolt.Tx, id, _ []byte) error { return remove(tx, specsBucket, id) },
		"no count": func(tx *bolt.Tx, id, _ []byte) error { return remove(tx, specRefsBucket, id) },
		"wrong count": func(tx *bolt.Tx, id, _ []byte) error {
			return put(tx, specRefsBucket, id, binary.BigEndian.AppendUint64(nil, 2))
		},
		"spec of no job": func(tx *bolt.Tx, _, spec []byte) error { return put(tx, specsBucket, other, bytes.Clone(spec)) },
		"count of no job": func(tx *bolt.Tx, _, _ []byte) error {
			return put(tx, specRefsBucket, other, binary.BigEndian.AppendUint64(nil, 1))
		},
		"job with another": func(tx *bolt.Tx, _, _ []byte) error {
			rec, err := readJob(tx, doneJob)
			rec.SpecId = other
			return errors.Join(err, putProto(tx, jobsBucket, key64(doneJob), rec))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := copyOf(t, content)
			file, err := bolt.Open(filepath.Join(dir, FileName), 0o600, boltOptions())
			require.NoError(t, err)
			require.NoError(t, file.Update(func(tx *bolt.Tx) error {
				id, spec := tx.Bucket(specsBucket).Cursor().First()
				return damage(tx, bytes.Clone(id), spec[:len(spec)-sealBytes])
			}))
			require.NoError(t, file.Close())
			_, err = OpenState(dir, testIdentity, slog.New(slog.DiscardHandler))
			require.ErrorIs(t, err, ErrCorrupt)
		})
	}
}
