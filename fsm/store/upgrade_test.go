package store

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Jobs of testdata/format2.db.gz, which a build before format 3 has written.
const (
	growingJob = 1 // of 300 tasks in appends of 100; 20 granted, 10 done; a large spec
	sharingJob = 2 // of the same spec, with a request key; it has ended
	grownJob   = 3 // of one append; it has ended
	youngJob   = 4 // of appends of 2 and 3 tasks with payloads; none granted
)

// openOld opens a copy of a file of an older build.
func openOld(t *testing.T, name string) *testBundle {
	t.Helper()
	packed, err := os.Open(filepath.Join("testdata", name))
	require.NoError(t, err)
	defer func() { require.NoError(t, packed.Close()) }()
	z, err := gzip.NewReader(packed)
	require.NoError(t, err)
	content, err := io.ReadAll(z)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, FileName), content, 0o600))
	b := &testBundle{t: t, clock: 1_700_000_000e9}
	b.s, err = OpenState(dir, testIdentity, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.s.Abandon() })
	return b
}

func TestAFileOfFormat2IsReadAndWritten(t *testing.T) {
	t.Parallel()
	b := openOld(t, "format2.db.gz")
	for _, reopen := range []bool{false, true} {
		if reopen {
			require.NoError(t, b.s.Flush())
			b.reopen()
		}
		meta, err := b.s.pair.Load().db.Meta()
		require.NoError(t, err)
		require.EqualValues(t, format, meta.Format)
		_, err = readEverything(b.s)
		require.NoError(t, err)
		require.Empty(t, b.s.Machine().CheckInvariants())
		for _, id := range []uint64{growingJob, sharingJob} {
			rec, err := b.s.Job(id)
			require.NoError(t, err)
			spec, err := b.s.Spec(rec)
			require.NoError(t, err)
			require.Equal(t, bytes.Repeat([]byte("shared "), 2000), spec.SharedPayload)
			require.EqualValues(t, 1000e9, fsm.Due(rec)-rec.FinishedNs)
		}
		for _, first := range []uint32{0, 100, 200} {
			require.True(t, b.append(growingJob, first, &logpb.Tasks{Count: 100}).Existed, "the append at %d", first)
		}
		require.True(t, b.append(grownJob, 0, packed(2, 0)).Existed)
		require.True(t, b.append(youngJob, 0, packed(2, 0)).Existed)
		require.True(t, b.append(youngJob, 2, packed(3, 0)).Existed)
	}
	db := b.s.pair.Load().db
	require.Empty(t, specRefs(t, db), "in format 2, specs are in the records")
	b.append(growingJob, 300, &logpb.Tasks{Count: 10})
	w := b.s.Machine().Sessions()[0].Id
	b.work(growingJob, 20, 1, 1, w)
	require.NoError(t, b.s.Flush())
	require.Equal(t, []uint64{1}, slices.Collect(maps.Values(specRefs(t, db))), "the spec of a job that changes is moved")
	b.reopen()
	require.True(t, b.append(growingJob, 100, &logpb.Tasks{Count: 100}).Existed)
	require.True(t, b.append(growingJob, 300, &logpb.Tasks{Count: 10}).Existed)

	// Nothing of it is left when all is over.
	for _, id := range []uint64{growingJob, youngJob} {
		b.apply(&logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: id, Reason: uint32(task.ReasonUser)}}})
	}
	b.apply(&logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: w}}})
	require.NoError(t, b.s.Flush())
	b.clock += int64(task.RetainOther)
	b.apply(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{
		Jobs: []uint64{growingJob, sharingJob, grownJob, youngJob}, Keys: []*logpb.KeyRef{{Queue: task.DefaultQueue, Key: "k"}},
	}}})
	require.NoError(t, b.s.Flush())
	requireNothingLeft(t, b.s)
}

// Jobs of testdata/format3.db.gz, which a build before format 4 has written.
const (
	triedJob  = 1 // of 300 tasks, 257 done; of tasks 270 to 274, which failed once, two are granted again
	failedJob = 2 // of one task, which has failed at its second attempt
)

// A file of format 3 knows only how many attempts there were before. Later attempts are kept.
func TestAFileOfFormat3IsReadAndWritten(t *testing.T) {
	t.Parallel()
	b := openOld(t, "format3.db.gz")
	b.clock += int64(time.Hour)
	for _, reopen := range []bool{false, true} {
		if reopen {
			require.NoError(t, b.s.Flush())
			b.reopen()
		}
		meta, err := b.s.pair.Load().db.Meta()
		require.NoError(t, err)
		require.EqualValues(t, format, meta.Format)
		_, err = readEverything(b.s)
		require.NoError(t, err)
		require.Empty(t, b.s.Machine().CheckInvariants())
		rec, err := b.s.Job(triedJob)
		require.NoError(t, err)
		require.EqualValues(t, 5, rec.Retrying)
		res, err := b.s.Ordered(failedJob, 0, 1)
		require.NoError(t, err)
		require.EqualValues(t, 2, res[0].Segment.Attempt)
		require.Equal(t, "no luck", res[0].Segment.Error)
		for _, job := range []uint64{triedJob, failedJob} {
			last, err := b.s.LastAttempt(job)
			require.NoError(t, err)
			require.Nil(t, last)
		}
	}
	w := b.s.Machine().Sessions()[0].Id
	b.fail(triedJob, w, "no luck either", &logpb.Range{First: 270, Count: 2})
	for range 2 { // from memory, then from disk
		got, err := b.s.Attempts(triedJob, 271, 2)
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.EqualValues(t, 2, got[0].Attempt)
		require.Equal(t, "no luck either", got[0].Error)
		require.NoError(t, b.s.Flush())
	}
	b.reopen()
	require.Equal(t, []string{"2: 270+2 no luck either"}, attemptRecords(t, b.s))
	rec, err := b.s.Job(triedJob)
	require.NoError(t, err)
	require.EqualValues(t, 5, rec.Retrying)
	require.Empty(t, b.s.Machine().CheckInvariants())
}

// asFormat2 puts the specs of a closed file into the records of their jobs, as builds before format 3 did.
func asFormat2(t *testing.T, dir string) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(dir, FileName), 0o600, &bolt.Options{Timeout: time.Second})
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		var records []*logpb.JobRecord
		err := tx.Bucket(jobsBucket).ForEach(func(k, _ []byte) error {
			rec, err := readJob(tx, binary.BigEndian.Uint64(k))
			require.NoError(t, err)
			raw, err := getSpec(tx, rec)
			require.NoError(t, err)
			rec.Spec, rec.SpecId, rec.SpecSum, rec.RetentionNs = bytes.Clone(raw), nil, 0, 0
			records = append(records, rec)
			return nil
		})
		require.NoError(t, err)
		for _, rec := range records {
			require.NoError(t, putProto(tx, jobsBucket, key64(rec.Id), rec))
		}
		for _, name := range [][]byte{specsBucket, specRefsBucket, appendsBucket, attemptsBucket, leavingBucket} {
			require.NoError(t, tx.DeleteBucket(name))
		}
		meta := &logpb.Meta{}
		_, err = getProto(tx, metaBucket, metaKey, meta)
		require.NoError(t, err)
		meta.Format = 2
		return putProto(tx, metaBucket, metaKey, meta)
	}))
	require.NoError(t, db.Close())
}

// Two jobs of format 2 share a spec. One is written again, with the spec apart, and is forgotten while the other one
// still has the spec in its own record.
func TestJobsOfFormat2ShareASpecWhateverBecomesOfOneOfThem(t *testing.T) {
	t.Parallel()
	for _, reopen := range []bool{false, true} {
		b := newBundle(t)
		w := b.openSession("w")
		first := b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 1}}, sharing(smallValue))
		second := b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 1}}, sharing(smallValue))
		require.NoError(t, b.s.Flush())
		require.NoError(t, b.s.Abandon())
		asFormat2(t, b.s.dir)
		b.open(b.s.dir)
		b.apply(&logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: &logpb.ApplyPlan{Assign: []*logpb.Assign{{Job: first, Count: 1, Session: w}}}}})
		require.NoError(t, b.s.Flush())
		if reopen {
			b.reopen() // one of them has the spec apart by now
		}
		held, known := b.s.Machine().Task(first, 0)
		require.True(t, known)
		b.apply(&logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: w, Groups: []*logpb.ReportGroup{{
			Job: first, TokenOffset: int64(held.Token), Outcome: uint32(task.OutcomeSucceeded), Ranges: []*logpb.Range{{Count: 1}},
		}}}}})
		require.NoError(t, b.s.Flush())
		b.clock += int64(task.RetainOther)
		b.apply(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: []uint64{first}}}})
		require.NoError(t, b.s.Flush())
		b.work(second, 0, 1, 1, w)
		require.NoError(t, b.s.Flush())
		b.reopen()
		rec, err := b.s.Job(second)
		require.NoError(t, err)
		spec, err := b.s.Spec(rec)
		require.NoError(t, err)
		require.Len(t, spec.SharedPayload, smallValue)
		require.Empty(t, b.s.Machine().CheckInvariants())
	}
}
