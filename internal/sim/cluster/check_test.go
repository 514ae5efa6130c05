package cluster

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A cluster must never show any of these. The checker must see each of them.
func TestHistorySeesContradictions(t *testing.T) {
	t.Parallel()
	for name, notes := range map[string]func(h *History){
		"digests that differ": func(h *History) {
			h.digest("n1", 5, 1)
			h.digest("n2", 5, 2)
		},
		"two leaders in a term": func(h *History) {
			h.leads("n1", 3)
			h.leads("n2", 3)
		},
	} {
		h := newHistory()
		notes(h)
		require.Len(t, h.problems, 1, name)
	}
}

func TestHistoryTakesWhatIsRight(t *testing.T) {
	t.Parallel()
	h := newHistory()
	h.digest("n1", 5, 1)
	h.digest("n2", 5, 1)
	h.leads("n1", 3)
	h.leads("n1", 3)
	h.leads("n2", 4)
	require.Empty(t, h.problems)
}
