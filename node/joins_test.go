package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// Strangers that named addresses which do not answer, again and again, once kept servers that had moved from being
// recorded.
func TestStrangersHoldUpNoServerOfTheCluster(t *testing.T) {
	t.Parallel()
	var j joins
	now := time.Now()
	for range maxCallBacks {
		_, err := j.enter("", now)
		require.NoError(t, err)
	}
	_, err := j.enter("", now)
	require.ErrorIs(t, err, task.ErrExhausted, "strangers are few at a time")
	leave, err := j.enter("n3", now)
	require.NoError(t, err, "a server of the cluster")
	_, err = j.enter("n3", now)
	require.ErrorIs(t, err, task.ErrExhausted, "it is asked back once at a time")
	leave()
	leave, err = j.enter("n3", now)
	require.NoError(t, err)
	leave()
}
