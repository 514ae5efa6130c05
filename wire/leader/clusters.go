package leader

import (
	"context"
	"fmt"
	"strings"

	"github.com/rota-scheduler/rota/task"
)

// askClusters asks the servers that were given of which cluster they are, and returns an error that
// says so where they are of several. One that does not answer, or is of none yet, is none of another one.
func (f *Finder) askClusters(ctx context.Context) error {
	var ids []string
	of := map[string][]string{}
	for i, m := range f.askAll(ctx, f.cfg.Addrs) {
		id := m.GetClusterId()
		if id == "" {
			continue
		}
		if of[id] == nil {
			ids = append(ids, id)
		}
		of[id] = append(of[id], f.cfg.Addrs[i])
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
