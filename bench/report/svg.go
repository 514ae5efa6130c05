package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/rota-scheduler/rota/bench/harness"
)

const (
	chartWidth = 760
	labelWidth = 150
	valueWidth = 190
	barHeight  = 22
	barStep    = 34
	headHeight = 46
	footHeight = 14
)

// style follows the reader's choice of a light or a dark page.
const style = `<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px } .note { fill: #59636e; font-size: 12px }
.subject { fill: #0b7a75 } .peer { fill: #9aa4af } .range { stroke: #1f2328; stroke-width: 1.5 }
.line { fill: none; stroke: #0b7a75; stroke-width: 2 } .grid { stroke: #9aa4af; stroke-width: .3 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .note { fill: #9198a1 } .range { stroke: #e6edf3 } .subject { fill: #2fb5ad } .peer { fill: #656c76 } }
</style>
`

// SVG writes the reports as one chart, a panel for each.
func SVG(out io.Writer, reports ...*Report) error {
	var b strings.Builder
	y := 0
	for _, r := range reports {
		y += r.panel(&b, y)
	}
	_, err := fmt.Fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n%s%s</svg>\n",
		chartWidth, y, chartWidth, y, style, b.String())
	return err
}

// bar is one line of a panel.
type bar struct {
	name, value             string
	middle, lowest, highest float64
	subject                 bool
}

// panel draws one report from y on and returns its height.
func (r *Report) panel(b *strings.Builder, y int) int {
	unit := "tasks/s, more is better"
	if r.Workload.Latency() {
		unit = "ms from submit to result, p50 to p99, less is better"
	}
	if r.Workload == harness.Failover {
		unit = "ms from the loss of the leader to the next result, p50 to p99, less is better"
	}
	fmt.Fprintf(b, `<text class="title" x="8" y="%d">%s</text><text class="note" x="8" y="%d">%s; %d CPUs for all processes</text>`+"\n",
		y+18, escape(string(r.Workload)), y+36, unit, r.CPUs)
	bars := r.bars()
	most := 0.0
	for _, x := range bars {
		most = max(most, x.highest)
	}
	if most == 0 {
		most = 1
	}
	at := func(v float64) float64 { return labelWidth + v/most*(chartWidth-labelWidth-valueWidth) }
	for i, x := range bars {
		top := y + headHeight + i*barStep
		class := "peer"
		if x.subject {
			class = "subject"
		}
		middle := float64(top) + barHeight/2.0
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth-8, top+barHeight-6, escape(x.name))
		fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, class, labelWidth, top, max(1, at(x.middle)-labelWidth), barHeight)
		fmt.Fprintf(b, `<line class="range" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, at(x.lowest), at(x.highest), middle, middle)
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`+"\n", at(x.highest)+8, top+barHeight-6, escape(x.value))
	}
	return headHeight + len(bars)*barStep + footHeight
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

func escape(s string) string {
	var b strings.Builder
	// A strings.Builder takes everything.
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}
