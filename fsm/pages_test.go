package fsm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// A page is where it was put, and nowhere else, also at the borders between lists.
func TestAPageIsWhereItWasPut(t *testing.T) {
	t.Parallel()
	const lastPage = (task.MaxTasks - 1) / pageSize
	seams := []uint32{0, 1, nearPages - 1, nearPages, nearPages + 1, nearPages + leafPages - 1, nearPages + leafPages, nearPages + 5*leafPages, lastPage}
	for _, at := range seams {
		j := &job{}
		p := &page{}
		j.setPage(at, p)
		for _, n := range seams {
			if n == at {
				require.Same(t, p, j.page(n), "page %d", n)
			} else {
				require.Nil(t, j.page(n), "page %d, where there is a page %d", n, at)
			}
		}
		require.Equal(t, at >= nearPages, j.rare != nil, "few jobs have as many")
	}
	j := &job{}
	pages := map[uint32]*page{}
	for k := range seams { // from the last one on
		n := seams[len(seams)-1-k]
		pages[n] = &page{}
		j.setPage(n, pages[n])
	}
	for n, p := range pages {
		require.Same(t, p, j.page(n), "page %d", n)
	}
}

// Leaves whose pages are all done share one leaf.
func TestLeavesThatAreDoneShareOne(t *testing.T) {
	t.Parallel()
	j := &job{}
	for n := range uint32(leafPages) {
		require.Nil(t, j.page(nearPages+n))
		j.setPage(nearPages+n, donePage)
		require.Equal(t, n == leafPages-1, j.rare.far[0] == doneLeaf, "page %d", n)
	}
	require.Same(t, donePage, j.page(nearPages))
	require.Same(t, donePage, j.page(nearPages+leafPages-1))
	require.Nil(t, j.page(nearPages+leafPages))
	other := &page{}
	j.setPage(nearPages+leafPages, other)
	require.Same(t, doneLeaf, j.rare.far[0])
	require.Same(t, other, j.page(nearPages+leafPages))
}
