package fsm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// Digests are stored, and compared between servers. A faster way to make them must not change their values.
func TestDigestsOfTasksAreChainsOfMix(t *testing.T) {
	s := &slot{token: 1<<40 + 7, at: -3, session: 1 << 33, attempt: 65535, failures: 200, lost: 3, state: task.Assigned, reason: task.ReasonTimeout}
	flags := uint64(65535)<<32 | 200<<24 | 3<<16 | uint64(task.Assigned)<<8 | uint64(task.ReasonTimeout)
	require.Equal(t, task.Mix(1<<31, s.token, uint64(s.at), s.session, flags), s.hash(1<<31))
	require.Equal(t, task.Mix(9, s.token, uint64(s.at), 77, 65535<<16|uint64(task.Assigned)<<8|uint64(task.ReasonTimeout)), finalHash(9, s, 77))
	require.Equal(t, task.Mix(0, 0), hashBytes(nil))
	require.Equal(t, uint64(0x9e3779b97f4a7c15), task.Mix())
	require.Equal(t, task.Mix(4, 5), task.MixWord(task.Mix(4), 5))
}
