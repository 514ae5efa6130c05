package transport

import (
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// A cursor counts results of the cluster that gave it out, and of no other incarnation.
func TestOldCursorsAreTold(t *testing.T) {
	t.Parallel()
	const order, other = rotav1.ResultOrder_RESULT_ORDER_COMPLETED, rotav1.ResultOrder_RESULT_ORDER_INDEX
	incarnations := []cursors{
		{order, nil},
		{order, &logpb.Incarnation{Id: 7, FromIndex: 90, FromCluster: "first"}},
		{order, &logpb.Incarnation{Id: 8, FromIndex: 90, FromCluster: "first"}},
	}
	for i, c := range incarnations {
		next, err := c.decode(nil)
		require.NoError(t, err)
		require.Zero(t, next)
		for k, from := range incarnations {
			next, err := c.decode(from.encode(1 << 31))
			if i == k {
				require.NoError(t, err)
				require.EqualValues(t, 1<<31, next)
				continue
			}
			require.ErrorIs(t, err, task.ErrConflict)
			require.ErrorContains(t, err, "from the start")
		}
		cursor := c.encode(3)
		_, err = cursors{other, c.incarnation}.decode(cursor)
		require.ErrorIs(t, err, task.ErrInvalid)
		for cut := 1; cut < len(cursor); cut++ {
			_, err = c.decode(cursor[:cut])
			require.ErrorIs(t, err, task.ErrInvalid)
		}
	}
	_, err := incarnations[1].decode(incarnations[0].encode(1))
	require.ErrorContains(t, err, "index 90 of cluster first")
}
