package task_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rota-scheduler/rota/task"
)

func TestPackGivesBackWhatWasPacked(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOf(rapid.SliceOf(rapid.Byte())).Draw(t, "values")
		var b []byte
		for _, v := range values {
			b = task.PackAppend(b, v)
		}
		require.NoError(t, task.PackCheck(b, len(values), task.MaxPayload))
		require.Error(t, task.PackCheck(b, len(values)+1, task.MaxPayload))
		for i, want := range values {
			rest, ok := task.PackSkip(b, i)
			require.True(t, ok)
			got, _, ok := task.PackNext(rest)
			require.True(t, ok)
			require.Equal(t, string(want), string(got))
		}
		rest, ok := task.PackSkip(b, len(values))
		require.True(t, ok)
		require.Empty(t, rest)
		_, ok = task.PackSkip(b, len(values)+1)
		require.False(t, ok)
	})
}

func TestPackNextDoesNotLendWhatComesBehind(t *testing.T) {
	t.Parallel()
	b := task.PackAppend(task.PackAppend(nil, []byte("one")), []byte("two"))
	v, _, ok := task.PackNext(b)
	require.True(t, ok)
	_ = append(v, "overwritten"...)
	require.Equal(t, task.PackAppend(task.PackAppend(nil, []byte("one")), []byte("two")), b)
}

func TestPackCheckSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, task.PackCheck(task.PackAppend(nil, make([]byte, 5)), 1, 4), task.ErrTooLarge)
	require.ErrorIs(t, task.PackCheck([]byte{1, 'a', 0}, 1, 4), task.ErrInvalid)
	require.ErrorIs(t, task.PackCheck([]byte{2, 'a'}, 1, 4), task.ErrInvalid)
	require.NoError(t, task.PackCheck(nil, 0, 4))
}

func FuzzPack(f *testing.F) {
	f.Add([]byte{}, 0)
	f.Add([]byte{0}, 1)
	f.Add([]byte{3, 'a', 'b', 'c', 0}, 2)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, 1)
	f.Fuzz(func(t *testing.T, b []byte, count int) {
		count &= 0xff
		fits := task.PackCheck(b, count, len(b)) == nil
		rest, ok := task.PackSkip(b, count)
		require.Equal(t, fits, ok && len(rest) == 0)
		size := 0
		for range count {
			v, next, ok := task.PackNext(b)
			if !ok {
				require.False(t, fits)
				return
			}
			size += len(v)
			require.Less(t, len(next), len(b))
			b = next
		}
		require.Equal(t, fits, len(b) == 0)
	})
}
