package report

import (
	"html/template"

	"github.com/rota-scheduler/rota/internal/plot"
)

const (
	// dotRadius is that of a call.
	dotRadius = 1.6
	// crossSize is that of a process that ended by itself.
	crossSize = 8
	// above is the distance of a title from what it is the title of.
	above = 6
)

// SVG draws the chart, what lies below first.
func (p *chart) SVG() template.HTML {
	d := &plot.Drawing{Width: width, Height: float64(p.Height)}
	p.drawFaults(d)
	p.drawLanes(d)
	p.drawRates(d)
	p.drawCalls(d)
	p.drawTimes(d)
	// Drawing has escaped what it was given.
	return template.HTML(d.Inline("Leaders, faults, and the rate and latency of calls over time"))
}

func at(x float64, y int) plot.Point { return plot.Point{X: x, Y: float64(y)} }

// upright draws a line from one height to another.
func upright(d *plot.Drawing, x float64, from, to int) { d.Line("axis", at(x, from), at(x, to)) }

// rows draws a line across for each mark, and its text at the left.
func rows(d *plot.Drawing, marks []mark) {
	for _, m := range marks {
		d.Line("grid", plot.Point{X: left, Y: m.At}, plot.Point{X: width - right, Y: m.At})
		d.Text("", plot.Point{X: 0, Y: m.At + 4}, plot.Start, m.Text)
	}
}

func (p *chart) drawFaults(d *plot.Drawing) {
	for _, b := range p.Bands {
		d.Rect("band "+b.Class, plot.Box{X: b.X, Y: float64(p.LanesTop), W: b.W, H: float64(p.CallsEnd - p.LanesTop)}, b.about())
		if b.Name != "" {
			d.Text("name", at(b.X, b.NameY), plot.Start, b.Name)
			upright(d, b.X, b.NameY, p.LanesTop)
		}
	}
}

func (p *chart) drawLanes(d *plot.Drawing) {
	for _, l := range p.Lanes {
		d.Text("", at(0, l.Y+barHigh), plot.Start, l.Name)
		d.Rect("up", plot.Box{X: left, Y: float64(l.Y), W: width - right - left, H: barHigh}, "")
	}
	for _, b := range p.Bars {
		d.Rect(b.Class, plot.Box{X: b.X, Y: float64(b.Y), W: b.W, H: float64(b.H)}, b.About)
	}
	for _, e := range p.Exits {
		d.Cross(e.Class, at(e.X, e.Y-crossSize/2), crossSize, e.About)
	}
}

func (p *chart) drawRates(d *plot.Drawing) {
	d.Text("title", at(left, p.RateTop-above), plot.Start, "calls that ended, a second")
	rows(d, p.RateRows)
	for _, r := range p.Rates {
		d.Curve(r.Class, r.Points)
	}
}

func (p *chart) drawCalls(d *plot.Drawing) {
	d.Text("title", at(left, p.CallsTop-above), plot.Start, "latency of every call")
	rows(d, p.Rows)
	for _, call := range p.Dots {
		d.Circle(call.Class, plot.Point{X: call.X, Y: call.Y}, dotRadius)
	}
}

// drawTimes writes the phases and the seconds.
func (p *chart) drawTimes(d *plot.Drawing) {
	for _, phase := range p.Phases {
		upright(d, phase.At, p.CallsEnd, p.PhasesAt)
		d.Text("name", at(phase.At+3, p.PhasesAt), plot.Start, phase.Text)
	}
	for _, s := range p.Columns {
		d.Text("", at(s.At, p.SecondsAt), plot.Start, s.Text)
	}
}
