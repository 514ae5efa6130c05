package store

import (
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// A job that grows by many appends is flushed ten times a second.
func TestAppendsDoNotGrowTheRecordOfTheirJob(t *testing.T) {
	t.Parallel()
	const appends = 300
	b := newBundle(t)
	job := b.submit(&logpb.Submit{Open: true}, &task.Spec{Handler: "h"})
	size := func() (n int) {
		require.NoError(t, b.s.Flush())
		require.NoError(t, b.s.pair.Load().db.view(func(tx *bolt.Tx) error {
			n = len(tx.Bucket(jobsBucket).Get(key64(job)))
			return nil
		}))
		return n
	}
	tasks := &logpb.Tasks{Count: 1000}
	b.append(job, 0, tasks)
	before := size()
	for i := uint32(1); i < appends; i++ {
		b.append(job, i*tasks.Count, tasks)
	}
	require.Less(t, size(), before+32, "only numbers of the record have grown")

	require.True(t, b.append(job, 7*tasks.Count, tasks).Existed, "it is sent again, and known")
	b.reopen()
	require.True(t, b.append(job, 7*tasks.Count, tasks).Existed, "also behind a restart")
	b.append(job, appends*tasks.Count, tasks)
	require.True(t, b.append(job, appends*tasks.Count, tasks).Existed, "also before it is on disk")
}

// TestAppendsOfASmallJobStandInItsRecord: one that begins and ends between two flushes is one
// record.
func TestAppendsOfASmallJobStandInItsRecord(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	w := b.openSession("w")
	job := b.submit(&logpb.Submit{Open: true}, &task.Spec{Handler: "h"})
	b.append(job, 0, &logpb.Tasks{Count: 2})
	b.append(job, 2, &logpb.Tasks{Count: 2})
	b.apply(&logpb.Op{Op: &logpb.Op_CloseTasks{CloseTasks: &logpb.CloseTasks{Job: job, Total: 4}}})
	b.work(job, 0, 4, 4, w)
	require.NoError(t, b.s.Flush())
	require.NoError(t, b.s.pair.Load().db.view(func(tx *bolt.Tx) error {
		k, _ := tx.Bucket(appendsBucket).Cursor().First()
		require.Nil(t, k)
		return nil
	}))
	require.True(t, b.append(job, 2, &logpb.Tasks{Count: 2}).Existed)
}

// TestAppendsAreToldInTheirOrder from memory, from the file, from a record, and from all of them.
func TestAppendsAreToldInTheirOrder(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&logpb.Submit{Open: true}, &task.Spec{Handler: "h"})
	var want []uint32
	first := uint32(0)
	add := func(n uint32) {
		b.append(job, first, &logpb.Tasks{Count: n})
		want, first = append(want, n), first+n
	}
	told := func() {
		t.Helper()
		var got []uint32
		for at, pages := uint32(0), 0; pages < 100; pages++ {
			page, err := b.s.Appends(job, at, 3)
			require.NoError(t, err)
			require.LessOrEqual(t, len(page), 3)
			if len(page) == 0 {
				break
			}
			for _, n := range page {
				at += n
			}
			got = append(got, page...)
		}
		require.Equal(t, want, got)
	}
	told()
	for i := range uint32(10) {
		add(1 + i%4)
		if i%3 == 0 {
			require.NoError(t, b.s.Flush())
		}
		told()
	}
	b.reopen()
	told()
	page, err := b.s.Appends(job, 2, 3)
	require.NoError(t, err)
	require.Empty(t, page, "no append begins there")

	w := b.openSession("w")
	small := b.submit(&logpb.Submit{Open: true}, &task.Spec{Handler: "h"})
	b.append(small, 0, &logpb.Tasks{Count: 2})
	b.append(small, 2, &logpb.Tasks{Count: 1})
	b.apply(&logpb.Op{Op: &logpb.Op_CloseTasks{CloseTasks: &logpb.CloseTasks{Job: small, Total: 3}}})
	b.work(small, 0, 3, 3, w)
	require.NoError(t, b.s.Flush())
	page, err = b.s.Appends(small, 0, 3)
	require.NoError(t, err)
	require.Equal(t, []uint32{2, 1}, page)
}
