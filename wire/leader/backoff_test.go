package leader

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBackoffGrowsToASecondWithJitter(t *testing.T) {
	t.Parallel()
	for range 100 {
		var b Backoff
		for failures := range 100 {
			limit := min(time.Second, 20*time.Millisecond<<min(failures, 10))
			d := b.Next()
			require.GreaterOrEqual(t, d, limit/2)
			require.LessOrEqual(t, d, limit)
		}
		b.Reset()
		require.LessOrEqual(t, b.Next(), BackoffBase)
	}
}
