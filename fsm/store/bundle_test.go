package store

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// testBundle is a state and what is needed to apply ops to it.
type testBundle struct {
	t     testing.TB
	s     *State
	clock int64
}

var testIdentity = Identity{NodeID: "n1", ServerID: "s1"}

func newBundle(t testing.TB) *testBundle {
	t.Helper()
	b := &testBundle{t: t, clock: 1_700_000_000e9}
	b.open(t.TempDir())
	t.Cleanup(func() { _ = b.s.Abandon() })
	return b
}

func (b *testBundle) open(dir string) {
	b.t.Helper()
	s, err := OpenState(dir, testIdentity, slog.New(slog.DiscardHandler))
	require.NoError(b.t, err)
	b.s = s
}

func (b *testBundle) reopen() {
	b.t.Helper()
	require.NoError(b.t, b.s.Abandon())
	b.open(b.s.dir)
}

func (b *testBundle) apply(ops ...*logpb.Op) []fsm.Result {
	b.t.Helper()
	data, err := fsm.EncodeEntry(b.s.Machine().ActiveVersion(), b.clock, ops)
	require.NoError(b.t, err)
	results, err := b.s.Machine().Apply(b.s.Machine().AppliedIndex()+1, 1, data)
	require.NoError(b.t, err)
	for _, r := range results {
		require.NoError(b.t, r.Err)
	}
	return results
}

func (b *testBundle) submit(o *logpb.Submit, s *task.Spec) uint64 {
	b.t.Helper()
	var err error
	o.Spec, err = fsm.EncodeSpec(s)
	require.NoError(b.t, err)
	return b.apply(&logpb.Op{Op: &logpb.Op_Submit{Submit: o}})[0].Job
}

func (b *testBundle) openSession(worker string) uint64 {
	b.t.Helper()
	return b.apply(&logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Session: &logpb.Session{
		Worker: worker, Nonce: []byte("n"), Slots: 1000, Handlers: []string{"h"},
	}}}})[0].Session
}

func (b *testBundle) grant(job uint64, first, count uint32, session uint64) {
	b.t.Helper()
	b.apply(&logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: &logpb.ApplyPlan{Assign: []*logpb.Assign{{Job: job, First: first, Count: count, Session: session}}}}})
}

// work grants tasks of a job, and reports the results of the first done of them.
func (b *testBundle) work(job uint64, first, count, done uint32, session uint64) {
	b.t.Helper()
	b.grant(job, first, count, session)
	t, known := b.s.Machine().Task(job, first)
	require.True(b.t, known)
	g := &logpb.ReportGroup{
		Job: job, TokenOffset: int64(t.Token) - int64(first), Outcome: uint32(task.OutcomeSucceeded), Ranges: []*logpb.Range{{First: first, Count: done}},
	}
	for i := range done {
		g.PackedOutputs = task.PackAppend(g.PackedOutputs, fmt.Appendf(nil, "result %d", first+i))
	}
	b.apply(&logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: session, Groups: []*logpb.ReportGroup{g}}}})
}

// fail reports that tasks have failed. A session holds them under tokens of one offset.
func (b *testBundle) fail(job, session uint64, why string, ranges ...*logpb.Range) {
	b.t.Helper()
	t, known := b.s.Machine().Task(job, ranges[0].First)
	require.True(b.t, known)
	b.apply(&logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: session, Groups: []*logpb.ReportGroup{{
		Job: job, TokenOffset: int64(t.Token) - int64(ranges[0].First), Outcome: uint32(task.OutcomeFailed), Reason: uint32(task.ReasonError), Error: why, Ranges: ranges,
	}}}}})
}

// append adds tasks to an open job.
func (b *testBundle) append(job uint64, first uint32, tasks *logpb.Tasks) fsm.Result {
	b.t.Helper()
	return b.apply(&logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: &logpb.AppendTasks{Job: job, FirstIndex: first, Tasks: tasks}}})[0]
}

func packed(n uint32, size int) *logpb.Tasks {
	t := &logpb.Tasks{Count: n}
	for i := range n {
		t.Packed = task.PackAppend(t.Packed, append(fmt.Appendf(nil, "payload %d", i), make([]byte, size)...))
	}
	return t
}

// sharing is the spec of jobs whose tasks share a payload of so many bytes.
func sharing(size int) *task.Spec {
	return &task.Spec{Handler: "h", SharedPayload: bytes.Repeat([]byte("s"), size)}
}

// Jobs of newFilled.
const (
	liveJob   = 1  // of 300 tasks, 257 done, 2 failed once
	inlineJob = 2  // one record
	doneJob   = 3  // with a request key and an append, its spec and results in records of their own
	leftJob   = 99 // forgotten, and something may be left of it
)

// newFilled returns a state that has values of every kind on disk.
func newFilled(t testing.TB) *testBundle {
	t.Helper()
	b := newBundle(t)
	w := b.openSession("w")
	h := &task.Spec{Handler: "h"}
	require.EqualValues(t, liveJob, b.submit(&logpb.Submit{Tasks: packed(300, 0)}, h))
	b.work(liveJob, 0, 280, 257, w)
	b.fail(liveJob, w, "no luck", &logpb.Range{First: 278, Count: 2})
	require.EqualValues(t, inlineJob, b.submit(&logpb.Submit{Tasks: packed(1, 0)}, h))
	b.work(inlineJob, 0, 1, 1, w)
	require.EqualValues(t, doneJob, b.submit(&logpb.Submit{Open: true, Key: "k", Hash: []byte("h")}, sharing(smallValue)))
	b.append(doneJob, 0, packed(3, inlineBytes))
	b.apply(&logpb.Op{Op: &logpb.Op_CloseTasks{CloseTasks: &logpb.CloseTasks{Job: doneJob, Total: 3}}})
	b.work(doneJob, 0, 3, 3, w)
	require.NoError(t, b.s.Flush())
	// If bbolt's newest meta page is damaged, bbolt falls back to the transaction before. Raft then applies the rest
	// again. Here both transactions should look the same.
	b.apply()
	require.NoError(t, b.s.Flush())
	db := b.s.pair.Load().db
	require.NoError(t, db.bolt.Update(func(tx *bolt.Tx) error { return put(tx, leavingBucket, key64(leftJob), nil) }))
	return b
}

// readEverything reads all that can be read of a filled state, as text.
func readEverything(s *State) (string, error) {
	var out bytes.Buffer
	records, _, _, err := s.JobsBelow(0, 10)
	if err != nil {
		return "", err
	}
	for _, r := range records {
		rec, err := s.Job(r.Id)
		if err != nil {
			return "", err
		}
		spec, err := s.Spec(rec)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(&out, rec, spec)
		if rec.OwnPayloads {
			payloads, err := s.Payloads(r.Id, 0, rec.Total)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&out, "%q\n", payloads)
		}
		for cursor := uint32(0); cursor < rec.Received; {
			segments, err := s.Segments(r.Id, cursor, 1<<20)
			if err != nil {
				return "", err
			}
			if len(segments) == 0 {
				return "", io.ErrUnexpectedEOF
			}
			for _, sg := range segments {
				fmt.Fprintln(&out, sg.First, sg.Count, sg.Segment)
				cursor = sg.First + sg.Count
			}
		}
		db := s.pair.Load().db
		var mark *logpb.AppendMark
		err = db.view(func(tx *bolt.Tx) error {
			mark, err = readMark(tx, r.Id, 0)
			return err
		})
		if err != nil {
			return "", err
		}
		fmt.Fprintln(&out, mark)
		for i := range rec.Total {
			cursor, ok, err := s.Cursor(r.Id, i)
			if err != nil {
				return "", err
			}
			attempts, err := s.Attempts(r.Id, i, 1)
			if err != nil {
				return "", err
			}
			fmt.Fprintln(&out, i, cursor, ok, attempts)
		}
	}
	for _, held := range s.Machine().Sessions() {
		fmt.Fprintln(&out, held.Session, held.Assigned)
	}
	jobs, keys, err := s.Due(1<<62, 10)
	if err != nil {
		return "", err
	}
	fmt.Fprintln(&out, jobs, keys)
	job, hash, ok := s.Machine().KeyJob(task.DefaultQueue, "k")
	fmt.Fprintln(&out, job, hash, ok)
	return out.String(), nil
}
