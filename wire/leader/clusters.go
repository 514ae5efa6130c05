package leader

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rota-scheduler/rota/task"
)

// askClusters asks the servers that were given of which cluster they are, and returns an error that
// says so where they are of several. One that does not answer, or is of none yet, is none of another one.
func (f *Finder) askClusters(ctx context.Context) error {
	var ids []string
	of := map[string][]string{}
	given := f.inOrder(f.Given())
	for i, m := range f.askAll(ctx, given) {
		id := m.GetClusterId()
		if id == "" {
			continue
		}
		if of[id] == nil {
			ids = append(ids, id)
		}
		of[id] = append(of[id], given[i])
	}
	if len(ids) < 2 {
		return nil
	}
	var parts []string
	for _, id := range ids {
		parts = append(parts, fmt.Sprintf("%s of cluster %s", strings.Join(of[id], ", "), id))
	}
	return task.Errorf(task.KindOtherCluster, "the addresses are those of %d clusters: give those of one (%s)", len(ids), strings.Join(parts, "; "))
}

// inOrder sorts addresses as they were given, so that messages name them as their reader has written them. Those that names
// stand for come last.
func (f *Finder) inOrder(addrs []string) []string {
	place := func(addr string) int {
		if i := slices.Index(f.cfg.Addrs, addr); i >= 0 {
			return i
		}
		return len(f.cfg.Addrs)
	}
	slices.SortFunc(addrs, func(a, b string) int { return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b)) })
	return addrs
}
