package report

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/bench/harness"
)

// oneRun is the report of a run of n tasks a second, as another process would print it.
func oneRun(t *testing.T, seconds float64) *Report {
	t.Helper()
	s := &fake{name: "rota"}
	var out bytes.Buffer
	require.NoError(t, New(harness.Distinct, []harness.System{s}, nil, []harness.Outcome{outcome(s, 0, 1000, seconds)}, nil).JSON(&out))
	r, err := Parse(out.Bytes())
	require.NoError(t, err)
	return r
}

func TestTurnsComparesRunsOfTheSameTurn(t *testing.T) {
	t.Parallel()
	ours := []*Report{oneRun(t, 1), oneRun(t, 2), oneRun(t, 4)}
	theirs := []*Report{oneRun(t, 2), oneRun(t, 2), oneRun(t, 2)}
	r := Turns("this", "other", ours, theirs)
	require.Len(t, r.Systems, 2)
	require.Len(t, r.Systems[0].Runs, 3)
	require.InDelta(t, 500, r.Systems[0].TasksPerS, 1e-9)
	require.Len(t, r.Ratios, 1)
	require.Equal(t, Ratio{Subject: "this", Peer: "other", Of: "tasks_per_s", Ratio: 1, Min: .5, Max: 2, Pairs: 3}, r.Ratios[0])
}

func TestParseRefusesWhatIsNoReportOfOneSystem(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{}", `{"systems":[]}`, `{"systems":[{"name":"rota","runs":[]}]}`} {
		_, err := Parse([]byte(text))
		require.Error(t, err, text)
	}
}
