package fsm_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Payloads are found by task, also if several requests have brought them.
func TestPayloadsAreFoundByTask(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.must(submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: packed(3), Open: true})).Job
	b.must(appendOp(job, 3, packed(2)))
	all := []int{0, 1, 2, 0, 1} // each request counts its own
	for _, c := range []struct {
		first, count, together uint32
		ok                     bool
	}{
		{0, 3, 3, true},
		{0, 5, 3, true},
		{1, 1, 1, true},
		{2, 2, 1, true},
		{3, 2, 2, true},
		{4, 1, 1, true},
		{4, 2, 1, false},
		{5, 1, 0, false},
	} {
		want := func(n uint32) (packed []byte) {
			for _, i := range all[c.first : c.first+n] {
				packed = task.PackAppend(packed, fmt.Appendf(nil, "payload %d", i))
			}
			return packed
		}
		got, ok := b.m.Payloads(job, c.first, c.count)
		require.Equal(t, c.ok, ok, "%+v", c)
		if ok {
			require.Equal(t, want(c.count), got, "%+v", c)
		}
		some, n := b.m.PayloadsTogether(job, c.first, c.count)
		require.Equal(t, c.together, n, "%+v", c)
		require.Equal(t, string(want(n)), string(some), "%+v", c)
	}
}

func TestPayloadsLeaveMemoryWithTheFlush(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.must(submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: packed(3), Open: true})).Job
	b.flush()
	b.must(appendOp(job, 3, packed(2)))
	for first, inMemory := range []bool{false, false, false, true, true} {
		_, ok := b.m.Payloads(job, uint32(first), 1)
		require.Equal(t, inMemory, ok, "task %d", first)
	}
	_, n := b.m.PayloadsTogether(job, 2, 3)
	require.Zero(t, n)
	_, ok := b.m.Payloads(99, 0, 1)
	require.False(t, ok, "there is no such job")
}
