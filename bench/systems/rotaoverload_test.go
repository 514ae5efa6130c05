package systems

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/bench/harness"
)

func TestRefusalsAreCountedWithTheirDelays(t *testing.T) {
	t.Parallel()
	answer := func(code codes.Code, delay time.Duration) *rotav1.SubmitAnswer {
		a := &rotav1.SubmitAnswer{Code: uint32(code)}
		if delay > 0 {
			a.Error = &rotav1.ErrorDetail{RetryAfter: durationpb.New(delay)}
		}
		return a
	}
	r := &refusals{}
	for _, a := range []*rotav1.SubmitAnswer{
		answer(codes.OK, 0), answer(codes.Unavailable, time.Minute), answer(codes.ResourceExhausted, 50*time.Millisecond),
		answer(codes.ResourceExhausted, time.Second), answer(codes.ResourceExhausted, 0),
		{Code: uint32(codes.OK), Response: &rotav1.SubmitResponse{Existed: true}},
	} {
		r.add(a)
	}
	require.Equal(t, int64(3), r.count)
	require.Equal(t, int64(1), r.without)
	require.Equal(t, int64(1), r.resent)
	require.Equal(t, 50*time.Millisecond, r.least)
	require.Equal(t, time.Second, r.most)
}

func TestAFloodEndsWithItsTimeAndCountsEveryTask(t *testing.T) {
	t.Parallel()
	load := &harness.Load{Workload: harness.Overload, Clients: 7, For: 50 * time.Millisecond}
	m, err := flood(load, func(int, int) error { return nil })
	require.NoError(t, err)
	require.GreaterOrEqual(t, m.Elapsed, load.For)
	require.Len(t, m.Latencies, m.Tasks)
	require.Positive(t, m.Tasks)
	require.Equal(t, (m.Tasks+19)/20, m.Overload.Large)
	require.Equal(t, 7, m.Overload.Clients)
}

func TestAFloodTellsOfAResultThatIsMissing(t *testing.T) {
	t.Parallel()
	missing := errors.New("it is gone")
	_, err := flood(&harness.Load{Workload: harness.Overload, Clients: 3, For: time.Hour}, func(_, i int) error {
		if i == 5 {
			return missing
		}
		return nil
	})
	require.ErrorIs(t, err, missing)
}

func TestPeakMemoryIsReadFromAStatus(t *testing.T) {
	t.Parallel()
	peak, err := parsePeakRSS("Name:\trota\nVmHWM:\t   12345 kB\nVmRSS:\t   1 kB\n")
	require.NoError(t, err)
	require.Equal(t, int64(12345<<10), peak)
	_, err = parsePeakRSS("Name:\trota\n")
	require.Error(t, err)
	own, err := peakRSS(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, own, int64(1<<20))
	require.True(t, processAlive(os.Getpid()))
}
