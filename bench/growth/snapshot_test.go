package growth

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSnapshotsAreCountedFromTheLog(t *testing.T) {
	t.Parallel()
	var snapshots taken
	require.NoError(t, snapshots.add([]byte("time=x level=DEBUG msg=snapshot node=n1 took=12.5ms trailing=400 error=<nil>\n"+
		"time=x level=INFO msg=leading node=n1 term=2\n"+
		"time=x level=DEBUG msg=snapshot node=n1 took=1.25s trailing=400 error=<nil>\n")))
	require.NoError(t, snapshots.add([]byte("time=x level=DEBUG msg=snapshot node=n2 took=3ms trailing=400 error=<nil>\n")))
	require.Equal(t, taken{count: 3, longest: 1250 * time.Millisecond}, snapshots)
	require.ErrorContains(t, snapshots.add([]byte("time=x level=DEBUG msg=snapshot node=n2\n")), "how long")
}
