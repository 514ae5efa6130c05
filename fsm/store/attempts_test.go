package store

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// attemptRecords returns the records of attempts on disk, as their number and tasks.
func attemptRecords(t *testing.T, s *State) (out []string) {
	t.Helper()
	require.NoError(t, s.pair.Load().db.view(func(tx *bolt.Tx) error {
		return tx.Bucket(attemptsBucket).ForEach(func(k, v []byte) error {
			a, err := decodeAttempt(k, v)
			require.NoError(t, err)
			out = append(out, fmt.Sprintf("%d: %d+%d %s", a.Attempt, a.First, a.Count, a.Error))
			return nil
		})
	}))
	return out
}

func TestAttemptsOfNeighboursThatEndAlikeAreOneRecord(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	w := b.openSession("w")
	job := b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 100}}, &task.Spec{Handler: "h"})
	b.grant(job, 0, 100, w)
	b.fail(job, w, "no luck", &logpb.Range{Count: 40}, &logpb.Range{First: 50, Count: 50})
	for range 2 { // from memory, then from disk
		for _, i := range []uint32{0, 39, 50, 99} {
			got, err := b.s.Attempts(job, i, 1)
			require.NoError(t, err)
			require.Len(t, got, 1, "task %d", i)
			require.Equal(t, "no luck", got[0].Error)
			require.Equal(t, "w", got[0].Worker)
			require.Equal(t, b.clock, got[0].EndedNs)
		}
		got, err := b.s.Attempts(job, 45, 1)
		require.NoError(t, err)
		require.Empty(t, got)
		last, err := b.s.LastAttempt(job)
		require.NoError(t, err)
		require.EqualValues(t, 1, last.Attempt)
		require.NoError(t, b.s.Flush())
	}
	require.Empty(t, b.s.Machine().Attempts(job, 0), "what is on disk has left memory")
	require.Equal(t, []string{"1: 0+40 no luck", "1: 50+50 no luck"}, attemptRecords(t, b.s))
	rec, err := b.s.Job(job)
	require.NoError(t, err)
	require.EqualValues(t, 90, rec.Retrying)
	b.reopen()
	rec, err = b.s.Job(job)
	require.NoError(t, err)
	require.EqualValues(t, 90, rec.Retrying, "after a restart")
	require.Empty(t, b.s.Machine().CheckInvariants())
}

// TestTheNewestAttemptsOfATaskAreKept: older ones are forgotten, task by task, whatever other tasks share the
// record.
func TestTheNewestAttemptsOfATaskAreKept(t *testing.T) {
	t.Parallel()
	const tasks, rounds = 20, 40
	b := newBundle(t)
	w := b.openSession("w")
	job := b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: tasks}}, &task.Spec{Handler: "h", MaxAttempts: task.MaxAttempts})
	r := rand.New(rand.NewPCG(1, 2))
	var tried [tasks]uint32
	for round := range rounds {
		// A run of tasks goes one attempt further, so that records are about other runs each time.
		first := uint32(r.IntN(tasks))
		if round == 0 {
			first = 0
		}
		count := 1 + uint32(r.IntN(int(tasks-first)))
		if round == 0 {
			count = tasks
		}
		b.clock += int64(2 * task.BackoffMax)
		b.grant(job, first, count, w)
		for i := first; i < first+count; i++ {
			held, known := b.s.Machine().Task(job, i)
			require.True(t, known)
			require.Equal(t, task.Assigned, held.State)
			tried[i]++
			require.Equal(t, tried[i], held.Attempt)
		}
		b.fail(job, w, "no luck", &logpb.Range{First: first, Count: count})
		if round%3 == 0 {
			require.NoError(t, b.s.Flush())
		}
	}
	require.NoError(t, b.s.Flush())
	for i := range uint32(tasks) {
		got, err := b.s.Attempts(job, i, tried[i])
		require.NoError(t, err)
		require.Len(t, got, int(min(tried[i], task.MaxAttemptsKept)), "task %d", i)
		for k, a := range got {
			require.Equal(t, tried[i]-uint32(len(got)-1-k), a.Attempt)
		}
		if beyond := tried[i]; beyond > task.MaxAttemptsKept {
			require.NoError(t, b.s.pair.Load().db.view(func(tx *bolt.Tx) error {
				a, err := readAttempt(tx, job, beyond-task.MaxAttemptsKept, i)
				require.Nil(t, a, "task %d, attempt %d of %d", i, beyond-task.MaxAttemptsKept, beyond)
				return err
			}))
		}
	}
	// They go with their job.
	b.apply(&logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: job, Reason: uint32(task.ReasonUser)}}})
	b.clock += 2 * int64(task.RetainOther)
	b.apply(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: []uint64{job}}}})
	require.NoError(t, b.s.Flush())
	require.Empty(t, attemptRecords(t, b.s))
}

// TestARecordOfAttemptsStaysSmall: the record is written again for each task that leaves it. So what its tasks have
// used must not make it large, whatever a worker reports.
func TestARecordOfAttemptsStaysSmall(t *testing.T) {
	t.Parallel()
	const tasks = 1000
	b := newBundle(t)
	w := b.openSession("w")
	job := b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: tasks}}, &task.Spec{Handler: "h"})
	b.grant(job, 0, tasks, w)
	first, known := b.s.Machine().Task(job, 0)
	require.True(t, known)
	g := &logpb.ReportGroup{
		Job: job, TokenOffset: int64(first.Token), Outcome: uint32(task.OutcomeFailed), Reason: uint32(task.ReasonError), Error: "no luck",
		Ranges: []*logpb.Range{{Count: tasks}},
	}
	for i := range tasks {
		g.PackedUsage = task.PackAppend(g.PackedUsage, binary.AppendUvarint(binary.AppendUvarint(nil, 1<<50), uint64(i)<<40))
	}
	b.apply(&logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: w, Groups: []*logpb.ReportGroup{g}}}})
	require.NoError(t, b.s.Flush())
	largest := 0
	require.NoError(t, b.s.pair.Load().db.view(func(tx *bolt.Tx) error {
		return tx.Bucket(attemptsBucket).ForEach(func(_, v []byte) error {
			largest = max(largest, len(v))
			return nil
		})
	}))
	require.Less(t, largest, 5<<10)
	for i := range uint32(tasks) {
		got, err := b.s.Attempts(job, i, 1)
		require.NoError(t, err)
		require.Len(t, got, 1)
		usage, _ := task.PackSkip(got[0].PackedUsage, int(i-got[0].First))
		used, _, _ := task.PackNext(usage)
		_, n := binary.Uvarint(used)
		cpu, _ := binary.Uvarint(used[n:])
		require.Equal(t, uint64(i)<<40, cpu)
	}
}

// TestWhatARecordOfAttemptsIsCutIntoTakesLittle: a report has one error and one standard error for thousands of
// tasks. When every second task has had enough later attempts, the rest become records of their own.
func TestWhatARecordOfAttemptsIsCutIntoTakesLittle(t *testing.T) {
	t.Parallel()
	const tasks = 1000
	b := newBundle(t)
	w := b.openSession("w")
	job := b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: tasks}}, &task.Spec{Handler: "h", MaxAttempts: task.MaxAttempts})
	fail := func(why string, ranges ...*logpb.Range) {
		b.clock += int64(2 * task.BackoffMax)
		b.grant(job, 0, tasks, w)
		b.fail(job, w, why, ranges...)
	}
	all, long := &logpb.Range{Count: tasks}, strings.Repeat("e", task.MaxError)
	fail(long, all)
	for range task.MaxAttemptsKept - 1 {
		fail("", all)
	}
	var second []*logpb.Range
	for i := uint32(0); i < tasks; i += 2 {
		second = append(second, &logpb.Range{First: i, Count: 1})
	}
	fail("", second...)
	require.NoError(t, b.s.Flush())
	size := 0
	require.NoError(t, b.s.pair.Load().db.view(func(tx *bolt.Tx) error {
		return tx.Bucket(attemptsBucket).ForEach(func(_, v []byte) error {
			size += len(v)
			return nil
		})
	}))
	require.Less(t, size, 400<<10)
	for i, want := range map[uint32]string{1: long[:128], 999: long} {
		got, err := b.s.Attempts(job, i, task.MaxAttemptsKept)
		require.NoError(t, err)
		require.Len(t, got, task.MaxAttemptsKept)
		require.Equal(t, want, got[0].Error, "task %d", i)
	}
}
