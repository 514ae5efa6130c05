package report

import (
	"fmt"
	"io"
	"math"
	"strings"
)

const (
	lineHeight = 220
	lineLeft   = 90
	lineRight  = 30
	lineFoot   = 40
	gridLines  = 4
)

// GrowthSVG writes the studies as one chart, a panel for each value of each.
func GrowthSVG(out io.Writer, studies ...*Growth) error {
	var b strings.Builder
	y := 0
	for _, g := range studies {
		for _, name := range g.names() {
			y += g.panel(&b, y, name)
		}
	}
	_, err := fmt.Fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n%s%s</svg>\n",
		chartWidth, y, chartWidth, y, style, b.String())
	return err
}

// panel draws a value against size, whose axis is logarithmic, and returns its height.
func (g *Growth) panel(b *strings.Builder, y int, name string) int {
	most := 0.0
	for _, p := range g.Points {
		most = max(most, p.Values[name].Max)
	}
	if most == 0 {
		return 0
	}
	top, bottom := float64(y+headHeight), float64(y+headHeight+lineHeight)
	vertical := func(v float64) float64 { return bottom - v/most*(bottom-top) }
	// A size of nothing has its place at the left end, as if it were one.
	low, high := math.Log10(float64(max(1, g.Points[0].Size))), math.Log10(float64(max(1, g.Points[0].Size)))
	for _, p := range g.Points {
		v := math.Log10(float64(max(1, p.Size)))
		low, high = min(low, v), max(high, v)
	}
	horizontal := func(size int) float64 {
		if high == low {
			return (lineLeft + chartWidth - lineRight) / 2.0
		}
		share := (math.Log10(float64(max(1, size))) - low) / (high - low)
		return lineLeft + share*(chartWidth-lineLeft-lineRight)
	}
	fmt.Fprintf(b, `<text class="title" x="8" y="%d">%s</text><text class="note" x="8" y="%d">%s against %s</text>`+"\n",
		y+18, escape(g.Study), y+36, escape(name), escape(g.Unit))
	for i := range gridLines + 1 {
		v := most * float64(i) / gridLines
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="note" x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			lineLeft, chartWidth-lineRight, vertical(v), vertical(v), lineLeft-8, vertical(v)+4, num(v))
	}
	var path []string
	for _, p := range g.Points {
		s, ok := p.Values[name]
		if !ok {
			continue // It says nothing at this size.
		}
		x := horizontal(p.Size)
		path = append(path, fmt.Sprintf("%.1f,%.1f", x, vertical(s.Median)))
		fmt.Fprintf(b, `<line class="range" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/><circle class="subject" cx="%.1f" cy="%.1f" r="4"/>`,
			x, x, vertical(s.Min), vertical(s.Max), x, vertical(s.Median))
		fmt.Fprintf(b, `<text class="note" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n", x, bottom+18, num(float64(p.Size)))
	}
	fmt.Fprintf(b, `<polyline class="line" points="%s"/>`+"\n", strings.Join(path, " "))
	return headHeight + lineHeight + lineFoot
}
