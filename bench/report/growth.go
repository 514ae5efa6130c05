package report

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/rota-scheduler/rota/bench/stats"
)

// GrowthRate is the name of the value that charts of growth show.
const GrowthRate = "tasks/s"

// Growth is a study: values against a size.
type Growth struct {
	Study string `json:"study"`
	Unit  string `json:"unit"`
	// Tasks is how many tasks each measurement of throughput had.
	Tasks int `json:"tasks"`
	// Flat says that the throughput should not depend on the size.
	Flat   bool    `json:"flat"`
	Marks  []Mark  `json:"marks,omitempty"`
	Points []Point `json:"points"`
}

// maxLoss is how much a throughput that should be flat may lose, as a share.
const maxLoss = 0.25

// Mark is what a value should not exceed.
type Mark struct {
	Of     string  `json:"of"`
	AtMost float64 `json:"at_most"`
	// UpTo is the largest size that the mark is for; 0: it is for all.
	UpTo int `json:"up_to,omitempty"`
}

// worst is the largest median that the mark is for; ok is false if there is none.
func (m Mark) worst(points []Point) (worst float64, ok bool) {
	for _, p := range points {
		if s, has := p.Values[m.Of]; has && (m.UpTo == 0 || p.Size <= m.UpTo) {
			worst, ok = max(worst, s.Median), true
		}
	}
	return worst, ok
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "MISSED"
}

// Point is one size.
type Point struct {
	Size   int                     `json:"size"`
	Values map[string]stats.Spread `json:"values"`
}

// Loss is by how much the throughput of the slowest size is below that of the smallest,
// as a share; 0: by nothing.
func (g *Growth) Loss() float64 {
	if len(g.Points) == 0 {
		return 0
	}
	return below(g.slowest(), g.Points[0].Values[GrowthRate].Median)
}

// Spread is by how much the slowest size is below the fastest, as a share.
func (g *Growth) Spread() float64 {
	most := 0.0
	for _, p := range g.Points {
		most = max(most, p.Values[GrowthRate].Median)
	}
	return below(g.slowest(), most)
}

func (g *Growth) slowest() float64 {
	least := math.Inf(1)
	for _, p := range g.Points {
		least = min(least, p.Values[GrowthRate].Median)
	}
	return least
}

// below is by how much a rate is below another, as a share of that; 0: by nothing.
func below(rate, other float64) float64 {
	if other <= 0 {
		return 0
	}
	return max(0, 1-rate/other)
}

// names are those of all values, the throughput first.
func (g *Growth) names() []string {
	all := map[string]bool{}
	for _, p := range g.Points {
		for name := range p.Values {
			all[name] = true
		}
	}
	names := slices.Sorted(maps.Keys(all))
	if at := slices.Index(names, GrowthRate); at > 0 {
		names = append([]string{GrowthRate}, slices.Delete(names, at, at+1)...)
	}
	return names
}

// Table writes the study for people.
func (g *Growth) Table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	names := g.names()
	fmt.Fprintf(w, "%s\n\n%s", g.Study, strings.ToUpper(g.Unit))
	for _, name := range names {
		fmt.Fprintf(w, "\t%s", strings.ToUpper(name))
	}
	fmt.Fprintln(w)
	for _, p := range g.Points {
		fmt.Fprintf(w, "%s", num(float64(p.Size)))
		for _, name := range names {
			s, ok := p.Values[name]
			switch {
			case !ok:
				fmt.Fprint(w, "\t-")
			case s.Min == s.Max:
				fmt.Fprintf(w, "\t%s", num(s.Median))
			default:
				fmt.Fprintf(w, "\t%s (%s to %s)", num(s.Median), num(s.Min), num(s.Max))
			}
		}
		fmt.Fprintln(w)
	}
	if g.Flat {
		fmt.Fprintf(w, "\nthe slowest size is %.0f %% below the fastest, and %.0f %% below the smallest; the mark for that is %.0f %%: %s\n",
			100*g.Spread(), 100*g.Loss(), 100*maxLoss, verdict(g.Loss() <= maxLoss))
	}
	for _, m := range g.Marks {
		if worst, ok := m.worst(g.Points); ok {
			fmt.Fprintf(w, "%s: %s at most; the mark is %s: %s\n", m.Of, num(worst), num(m.AtMost), verdict(worst <= m.AtMost))
		}
	}
	fmt.Fprintln(w)
	return w.Flush()
}

// JSON writes the study as one object.
func (g *Growth) JSON(w io.Writer) error { return writeJSON(w, g) }
