package checker

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// histories is where the histories made by hand lie: a folder for each check, with files
// named good..., bad... and unknown... for what the check must say of them.
const histories = "../testdata"

func TestHandMadeHistories(t *testing.T) {
	t.Parallel()
	wanted := map[string]Verdict{"good": Valid, "bad": Invalid, "unknown": Unknown}
	for _, c := range append(slices.Clone(checks), check{name: "vacuity"}) {
		files, err := filepath.Glob(filepath.Join(histories, c.name, "*.jsonl"))
		require.NoError(t, err)
		kinds := map[string]int{}
		for _, path := range files {
			name := strings.TrimSuffix(filepath.Base(path), ".jsonl")
			kind, _, _ := strings.Cut(name, "-")
			kinds[kind]++
			t.Run(c.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				ops, err := history.ReadFile(path)
				require.NoError(t, err)
				rep, err := Check(ops)
				require.NoError(t, err)
				r := resultOf(rep, c.name)
				require.Equal(t, wanted[kind], r.Verdict, "%q %s", r.Problems, r.Note)
				if kind == "bad" {
					require.Equal(t, Invalid, rep.Verdict)
				}
			})
		}
		require.Positive(t, kinds["good"], "%s has no good history", c.name)
		require.Positive(t, kinds["bad"]+kinds["unknown"], "%s has no bad history: it cannot be seen to fail", c.name)
	}
}

func resultOf(rep Report, name string) Result {
	return rep.Results[slices.IndexFunc(rep.Results, func(r Result) bool { return r.Name == name })]
}

func TestWhatIsNoHistoryIsAnError(t *testing.T) {
	t.Parallel()
	_, err := Check(nil)
	require.ErrorContains(t, err, "setup")
	_, err = Check([]history.Op{{Type: history.Info, F: history.FSetup, Value: []byte(`{"servers":3}`)}})
	require.Error(t, err)
}

func TestTheRegistersPageShowsWhatHasNoOrder(t *testing.T) {
	t.Parallel()
	ops, err := history.ReadFile(filepath.Join(histories, "S11", "bad-stale-read.jsonl"))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "page.html")
	made, err := WriteRegisters(ops, path)
	require.NoError(t, err)
	require.True(t, made)
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(page), "read() = 1")
}
