package report

import (
	"fmt"
	"io"

	"github.com/rota-scheduler/rota/bench/harness"
	"github.com/rota-scheduler/rota/internal/plot"
)

const (
	chartWidth = 760
	labelWidth = 150
	valueWidth = 190
	barHeight  = 22
	barStep    = 34
	barRadius  = 2
	headHeight = 46
	footHeight = 14
)

// style follows the reader's choice of a light or a dark page.
const style = `text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px } .note { fill: #59636e; font-size: 12px }
.subject { fill: #0b7a75 } .peer { fill: #9aa4af } .range { stroke: #1f2328; stroke-width: 1.5 }
.line { fill: none; stroke: #0b7a75; stroke-width: 2 } .grid { stroke: #9aa4af; stroke-width: .3 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .note { fill: #9198a1 } .range { stroke: #e6edf3 } .subject { fill: #2fb5ad } .peer { fill: #656c76 } }
`

// SVG writes the reports as one chart, a panel for each.
func SVG(out io.Writer, reports ...*Report) error {
	d := &plot.Drawing{Width: chartWidth}
	for _, r := range reports {
		r.panel(d)
	}
	return d.Document(out, style)
}

// head writes the heading of a panel.
func head(d *plot.Drawing, title, note string) {
	d.Text("title", plot.Point{X: 8, Y: d.Height + 18}, plot.Start, title)
	d.Text("note", plot.Point{X: 8, Y: d.Height + 36}, plot.Start, note)
}

// bar is one line of a panel.
type bar struct {
	name, value             string
	middle, lowest, highest float64
	subject                 bool
}

// panel draws one report below what is there.
func (r *Report) panel(d *plot.Drawing) {
	unit := "tasks/s, more is better"
	if r.Workload.Latency() {
		unit = "ms from submit to result, p50 to p99, less is better"
	}
	if r.Workload == harness.Failover {
		unit = "ms from the loss of the leader to the next result, p50 to p99, less is better"
	}
	head(d, string(r.Workload), fmt.Sprintf("%s; %d CPUs for all processes", unit, r.CPUs))
	bars := r.bars()
	scale := plot.Scale{From: labelWidth, To: chartWidth - valueWidth}
	for _, x := range bars {
		scale.High = max(scale.High, x.highest)
	}
	if scale.High == 0 {
		scale.High = 1
	}
	for i, x := range bars {
		top := d.Height + headHeight + float64(i*barStep)
		middle, base := top+barHeight/2, top+barHeight-6
		class := "peer"
		if x.subject {
			class = "subject"
		}
		d.Text("", plot.Point{X: labelWidth - 8, Y: base}, plot.End, x.name)
		d.Rect(class, plot.Box{X: labelWidth, Y: top, W: max(1, scale.At(x.middle)-labelWidth), H: barHeight, Radius: barRadius}, "")
		d.Line("range", plot.Point{X: scale.At(x.lowest), Y: middle}, plot.Point{X: scale.At(x.highest), Y: middle})
		d.Text("", plot.Point{X: scale.At(x.highest) + 8, Y: base}, plot.Start, x.value)
	}
	d.Height += headHeight + float64(len(bars)*barStep) + footHeight
}

func (r *Report) bars() []bar {
	subjects := map[string]bool{}
	factors := map[string]string{}
	for _, x := range r.Ratios {
		subjects[x.Subject] = true
		if factors[x.Peer] == "" {
			factors[x.Peer] = fmt.Sprintf(" (ratio %s)", num(x.Ratio))
		}
	}
	var bars []bar
	for i, s := range r.Systems {
		x := bar{
			name: s.Name, subject: subjects[s.Name] || i == 0,
			middle: s.TasksPerS, lowest: s.Range.Min, highest: s.Range.Max, value: num(s.TasksPerS) + factors[s.Name],
		}
		if r.Workload.Latency() {
			x.middle, x.lowest, x.highest = s.P50MS, s.P50MS, s.P99MS
			x.value = num(s.P50MS) + " / " + num(s.P99MS) + factors[s.Name]
		}
		bars = append(bars, x)
	}
	return bars
}
