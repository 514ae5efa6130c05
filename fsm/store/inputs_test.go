package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// TestInputsReadEachRecordOnce: the payloads of a page that came with one request stand in one record, which is read
// once and not again for each few of them.
func TestInputsReadEachRecordOnce(t *testing.T) {
	const tasks, most = 20_000, 2_000 // 79 records
	b := newBundle(t)
	job := b.submit(&logpb.Submit{Tasks: packed(tasks, 0)}, &task.Spec{Handler: "h"})
	read := func() (inputs []byte) {
		inputs = make([]byte, 0, 1<<20)
		allocs := testing.AllocsPerRun(1, func() {
			var err error
			inputs, err = b.s.AppendInputs(inputs[:0], job, 0, tasks)
			require.NoError(t, err)
		})
		require.Less(t, allocs, float64(most))
		return inputs
	}
	inMemory := read()
	require.NoError(t, b.s.Flush())
	b.reopen()
	require.Equal(t, inMemory, read())
	require.NoError(t, task.PackCheck(inMemory, tasks, task.MaxInput+1))
}
