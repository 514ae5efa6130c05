package mutants

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryMutantAppliesAndCompiles(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	p := loadProduct(t, root)
	names := map[string]bool{}
	for _, m := range All() {
		require.False(t, names[m.Name], "two mutants are called %s", m.Name)
		names[m.Name] = true
		t.Run(m.Name, func(t *testing.T) {
			require.NotEmpty(t, m.edits)
			for _, edits := range [][]edit{m.faults, append(m.faults[:len(m.faults):len(m.faults)], m.edits...)} {
				changed, err := apply(t.Context(), root, edits)
				require.NoError(t, err)
				require.NoError(t, p.compile(changed))
			}
		})
	}
}

// A mutant that does not compile is never tried, and nobody would notice.
func TestMutantsThatDoNotCompileAreFound(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	p := loadProduct(t, root)
	for name, c := range map[string]struct {
		edit edit
		err  string
	}{
		"in the changed file": {
			edit{"", "transport/reads.go", "if o.GetStale() {", "if o.GetStale() || unheardOf {"},
			"transport/reads.go:.*undefined: unheardOf",
		},
		"in another package": {
			edit{"", "fsm/machine.go", ") SetObserver(", ") Observe("},
			"SetObserver undefined",
		},
		"in the product, by a change of a module": {
			edit{raftModule, "api.go", ") Barrier(", ") Fence("},
			"node/.*missing method Barrier",
		},
		"by what it imports": {
			edit{"", "task/doc.go", "package task", "package task\n\nimport _ \"github.com/rota-scheduler/rota/fsm\""},
			"imports itself",
		},
		"in a file of no build": {
			edit{"", "fsm/machine_test.go", "package fsm", "package  fsm"},
			"the binary is not built of this file",
		},
	} {
		t.Run(name, func(t *testing.T) {
			changed, err := apply(t.Context(), root, []edit{c.edit})
			require.NoError(t, err)
			require.Regexp(t, c.err, p.compile(changed))
		})
	}
}
