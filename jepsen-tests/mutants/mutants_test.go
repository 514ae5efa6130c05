package mutants

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryMutantApplies(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	names := map[string]bool{}
	for _, m := range All() {
		require.False(t, names[m.Name], "two mutants are called %s", m.Name)
		names[m.Name] = true
		require.NotEmpty(t, m.edits, m.Name)
		for _, edits := range [][]edit{m.faults, append(m.faults[:len(m.faults):len(m.faults)], m.edits...)} {
			changed, err := apply(t.Context(), root, edits)
			require.NoError(t, err, m.Name)
			for source, f := range changed {
				_, err := parser.ParseFile(token.NewFileSet(), source, f.text, parser.AllErrors)
				require.NoError(t, err, m.Name)
			}
		}
	}
}
