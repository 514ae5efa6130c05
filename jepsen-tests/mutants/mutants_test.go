package mutants

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryMutantApplies(t *testing.T) {
	t.Parallel()
	for _, m := range All() {
		text, err := os.ReadFile(filepath.Join("..", "..", m.file))
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(text), m.old), "%s in %s", m.Name, m.file)
		require.NotEqual(t, m.old, m.broken)
	}
}
