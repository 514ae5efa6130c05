package report

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/jepsen-tests/checker"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

func TestThePageShowsVerdictsFaultsAndTheCommand(t *testing.T) {
	t.Parallel()
	ops, err := history.ReadFile(filepath.Join("..", "testdata", "L1", "bad-too-late.jsonl"))
	require.NoError(t, err)
	rep, err := checker.Check(ops)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, Write(&out, ops, rep, "chaos test --seed 7 <&>"))
	page := out.String()
	require.Contains(t, page, `<span class="invalid">invalid</span>`)
	require.Contains(t, page, "it took 9s to the next acknowledgement")
	require.Contains(t, page, `<circle class="ok"`)
	require.Contains(t, page, "chaos test --seed 7 &lt;&amp;&gt;")
	require.NotContains(t, page, "http", "it needs nothing from elsewhere")
}
