package transport

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// Servers of an older build must not be given what they do not know, whatever a worker sends.
func TestAReportIsWhatTheActiveVersionKnows(t *testing.T) {
	t.Parallel()
	g := &rotav1.ReportGroup{
		JobId: 1, Ranges: []*rotav1.IndexRange{{Count: 1}}, Outcome: rotav1.Outcome_OUTCOME_SUCCEEDED,
		StderrTail: []byte(strings.Repeat("x", task.MaxStderrTail-2) + "end"), StderrMissing: 5,
	}
	for version, want := range map[uint32]struct {
		size    int
		missing uint64
	}{3: {8 << 10, 0}, 4: {64 << 10, 6}} {
		got, _, err := reportOf(g, task.RulesOf(version))
		require.NoError(t, err)
		require.Len(t, got.StderrTail, want.size, "version %d", version)
		require.True(t, strings.HasSuffix(string(got.StderrTail), "xend"))
		require.Equal(t, want.missing, got.StderrMissing, "version %d", version)
	}
}
