package suite

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/rota-scheduler/rota/jepsen-tests/checker"
)

// maxRows is up to how many tests a document gives a line each. Beyond that it has a cell
// for each.
const maxRows = 100

// writeMatrix writes, for each size of cluster, a table of faults and workloads. A cell has the
// acknowledged submits of each of its tests, and in brackets the seed and the log store.
func writeMatrix(to io.Writer, rows []Row) {
	var sizes []int
	var workloads, faults []string
	type cell struct {
		servers           int
		workload, nemesis string
	}
	cells := map[cell][]string{}
	for i := range rows {
		r := &rows[i]
		sizes, workloads, faults = appendNew(sizes, r.Servers), appendNew(workloads, r.Workload), appendNew(faults, r.Nemesis)
		text := strconv.Itoa(r.Submits)
		if r.Verdict != checker.Valid {
			text = "**" + string(r.Verdict) + "**"
		}
		c := cell{r.Servers, r.Workload, r.Nemesis}
		cells[c] = append(cells[c], fmt.Sprintf("%s (%d %s)", text, r.Seed, r.LogStore))
	}
	slices.Sort(sizes)
	for _, n := range sizes {
		fmt.Fprintf(to, "\n## %d servers\n\nAcknowledged submits of each test (its seed and log store).\n\n", n)
		fmt.Fprintf(to, "| fault | %s |\n|%s\n", strings.Join(workloads, " | "), strings.Repeat("---|", len(workloads)+1))
		for _, f := range faults {
			line := []string{f}
			for _, w := range workloads {
				line = append(line, strings.Join(cells[cell{n, w, f}], "; "))
			}
			fmt.Fprintf(to, "| %s |\n", strings.Join(line, " | "))
		}
	}
}

// appendNew is a list with x in it, once.
func appendNew[T comparable](list []T, x T) []T {
	if slices.Contains(list, x) {
		return list
	}
	return append(list, x)
}
