package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// TestInputsReadEachRecordOnce: payloads of a page that came with one request are in one record. It is read once,
// not again for every few of them.
func TestInputsReadEachRecordOnce(t *testing.T) {
	const tasks, most = 20_000, 2_000 // 79 records
	b := newBundle(t)
	job := b.submit(&logpb.Submit{Tasks: packed(tasks, 0)}, &task.Spec{Handler: "h"})
	read := func(ranges ...task.Range) (inputs []byte) {
		inputs = make([]byte, 0, 1<<20)
		allocs := testing.AllocsPerRun(1, func() {
			var err error
			inputs, err = b.s.AppendInputs(inputs[:0], job, ranges)
			require.NoError(t, err)
		})
		require.Less(t, allocs, float64(most))
		return inputs
	}
	all := task.Range{Count: tasks}
	inMemory := read(all)
	require.NoError(t, task.PackCheck(inMemory, tasks, task.MaxInput+1))
	require.NoError(t, b.s.Flush())
	b.reopen()
	require.Equal(t, inMemory, read(all))
	// As when tasks of many workers end: neighbours are far apart.
	var inputs [tasks][]byte
	for i, rest := 0, inMemory; i < tasks; i++ {
		inputs[i], rest, _ = task.PackNext(rest)
	}
	var apart []task.Range
	var want []byte
	for i := range uint32(tasks) {
		at := i * 7919 % tasks
		apart = append(apart, task.Range{First: at, Count: 1})
		want = task.PackAppend(want, inputs[at])
	}
	require.Equal(t, want, read(apart...))
}
