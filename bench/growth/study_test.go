package growth

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A study that fails in the middle has the values of what was measured before.
func TestAStudyThatFailsKeepsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	errLate := errors.New("out of luck")
	good := 0
	s := Study{Name: "backlog", Unit: "tasks", measure: func(_ context.Context, _ *lab, size int) (map[string]float64, error) {
		if good == 0 {
			return nil, errLate
		}
		good--
		return map[string]float64{Throughput: float64(size)}, nil
	}}
	o := Options{Dir: t.TempDir(), Rounds: 2, Timeout: time.Minute, Progress: func(string, ...any) {}}
	good = 2
	g, err := Run(t.Context(), s, []int{10, 20, 30}, o)
	require.ErrorIs(t, err, errLate)
	require.Len(t, g.Points, 2)
	require.Equal(t, 20, g.Points[1].Size)

	g, err = Run(t.Context(), s, []int{10}, o)
	require.ErrorIs(t, err, errLate)
	require.Nil(t, g)
}
