package report

import (
	"io"

	"github.com/rota-scheduler/rota/internal/plot"
)

const (
	lineHeight = 220
	lineLeft   = 90
	lineRight  = 30
	lineFoot   = 40
	gridLines  = 4
	dotRadius  = 4
)

// GrowthSVG writes the studies as one chart, a panel for each value of each.
func GrowthSVG(out io.Writer, studies ...*Growth) error {
	d := &plot.Drawing{Width: chartWidth}
	for _, g := range studies {
		for _, name := range g.names() {
			g.panel(d, name)
		}
	}
	return d.Document(out, style)
}

// panel draws a value against size, whose axis is logarithmic, below what is there.
func (g *Growth) panel(d *plot.Drawing, name string) {
	most := 0.0
	for _, p := range g.Points {
		most = max(most, p.Values[name].Max)
	}
	if most == 0 {
		return
	}
	// A size of nothing has its place at the left end, as if it were one.
	size := func(p Point) float64 { return float64(max(1, p.Size)) }
	bottom := d.Height + headHeight + lineHeight
	vertical := plot.Scale{High: most, From: bottom, To: bottom - lineHeight}
	horizontal := plot.Scale{Low: size(g.Points[0]), High: size(g.Points[0]), From: lineLeft, To: chartWidth - lineRight, Log: true}
	for _, p := range g.Points {
		horizontal.Low, horizontal.High = min(horizontal.Low, size(p)), max(horizontal.High, size(p))
	}
	head(d, g.Study, name+" against "+g.Unit)
	for i := range gridLines + 1 {
		v := most * float64(i) / gridLines
		y := vertical.At(v)
		d.Line("grid", plot.Point{X: lineLeft, Y: y}, plot.Point{X: chartWidth - lineRight, Y: y})
		d.Text("note", plot.Point{X: lineLeft - 8, Y: y + 4}, plot.End, num(v))
	}
	var path []plot.Point
	for _, p := range g.Points {
		s, ok := p.Values[name]
		if !ok {
			continue // It says nothing at this size.
		}
		at := plot.Point{X: horizontal.At(size(p)), Y: vertical.At(s.Median)}
		path = append(path, at)
		d.Line("range", plot.Point{X: at.X, Y: vertical.At(s.Min)}, plot.Point{X: at.X, Y: vertical.At(s.Max)})
		d.Circle("subject", at, dotRadius)
		d.Text("note", plot.Point{X: at.X, Y: bottom + 18}, plot.Middle, num(float64(p.Size)))
	}
	d.Curve("line", path)
	d.Height = bottom + lineFoot
}
