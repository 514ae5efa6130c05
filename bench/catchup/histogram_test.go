package catchup

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuantilesAreThoseOfWhatCameBetweenTwoSamples(t *testing.T) {
	t.Parallel()
	const head = "# HELP rota_apply_seconds How long\nrota_state_db_bytes 4096\nrota_raft_term 3\nrota_leader 1\n"
	before, err := parse(head + "rota_apply_seconds_bucket{le=\"0.001\"} 90\nrota_apply_seconds_bucket{le=\"0.002\"} 90\nrota_apply_seconds_bucket{le=\"+Inf\"} 90\n")
	require.NoError(t, err)
	after, err := parse(head + "rota_apply_seconds_bucket{le=\"0.001\"} 140\nrota_apply_seconds_bucket{le=\"0.002\"} 189\nrota_apply_seconds_bucket{le=\"+Inf\"} 190\n")
	require.NoError(t, err)
	got := after.since(before)
	require.EqualValues(t, 100, got.total())
	require.InDelta(t, 4096, got.state, 0)
	require.InDelta(t, 3, got.term, 0)
	require.True(t, got.leads)
	require.InDelta(t, 0.5, got.quantile(25), 1e-9)
	require.InDelta(t, 1, got.quantile(50), 1e-9)
	require.InDelta(t, 2, got.quantile(99), 1e-9)
	require.InDelta(t, 2, got.quantile(100), 1e-9, "beyond the last bound is that bound")
	require.Zero(t, before.since(before).quantile(99))
	_, err = parse(head)
	require.Error(t, err)
}
