package report

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/internal/plot"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// The plot in SVG units, from top to bottom: names of faults, lanes of processes, the rate
// of calls, their latencies, phases and seconds.
const (
	width, left, right  = 1100, 64, 10
	namesHigh, nameRow  = 34, 11
	lane, barHigh       = 17, 9
	rateHigh, callsHigh = 110, 260
	between, below      = 26, 34
	letterWide          = 5.6
	// Latencies from 10^lowest to 10^highest milliseconds fit.
	lowest, highest = -1, 4
	// maxDots is about how many calls are drawn. If there are more, one in EachOf is drawn, and each that went wrong.
	maxDots = 8000
	// buckets is how many steps the rate has.
	buckets = 120
)

// chart is what is drawn.
type chart struct {
	Height              int
	LanesTop, LanesEnd  int
	RateTop, RateEnd    int
	CallsTop, CallsEnd  int
	PhasesAt, SecondsAt int
	Bands               []band
	Lanes               []laneOf
	Bars                []bar
	Exits               []exit
	Rates               []line
	RateRows            []mark
	Dots                []dot
	Rows, Columns       []mark
	Phases              []mark
	// EachOf: one of so many calls is drawn.
	EachOf int

	end int64
}

// band is a fault.
type band struct {
	X, W     float64
	Kind     string
	Class    string
	Targets  []string
	From, To time.Duration
	Effect   int64
	// Name is what fits beside the others, at a height of NameY; "": it has no room.
	Name  string
	NameY int
}

func (b *band) about() string {
	return fmt.Sprintf("%s from %v to %v, effect %d", b.Kind, b.From, b.To, b.Effect)
}

// laneOf is the line of a process.
type laneOf struct {
	Y    int
	Name string
}

// bar is a time in a lane: of a leader, or of one that a fault was on.
type bar struct {
	X, W  float64
	Y, H  int
	Class string
	About string
}

// exit is a process that ended by itself.
type exit struct {
	X     float64
	Y     int
	About string
	Class string
}

// line is a curve.
type line struct {
	Class  string
	Points []plot.Point
}

// dot is a call.
type dot struct {
	X, Y  float64
	Class string
}

type mark struct {
	At   float64
	Text string
}

func newChart(ops []history.Op, setup history.Setup) (chart, error) {
	processes := append(slices.Clone(setup.Servers), setup.Workers...)
	p := chart{LanesTop: namesHigh + 4, end: max(ops[len(ops)-1].Time, 1)}
	for i, name := range processes {
		p.Lanes = append(p.Lanes, laneOf{p.LanesTop + lane*i, name})
	}
	p.LanesEnd = p.LanesTop + lane*len(processes)
	p.RateTop = p.LanesEnd + between
	p.RateEnd = p.RateTop + rateHigh
	p.CallsTop = p.RateEnd + between
	p.CallsEnd = p.CallsTop + callsHigh
	p.PhasesAt, p.SecondsAt = p.CallsEnd+14, p.CallsEnd+28
	p.Height = p.CallsEnd + below
	for _, add := range []func([]history.Op) error{p.addBands, p.addLeads, p.addExits, p.addPhases} {
		if err := add(ops); err != nil {
			return p, err
		}
	}
	p.addCalls(ops)
	for power := lowest; power <= highest; power++ {
		p.Rows = append(p.Rows, mark{p.latency(math.Pow10(power)), (time.Duration(math.Pow10(power+6)) * time.Nanosecond).String()})
	}
	seconds := int(time.Duration(p.end).Seconds())
	step := int(plot.Nice(float64(seconds) / 12))
	for s := 0; s <= seconds; s += max(1, step) {
		p.Columns = append(p.Columns, mark{p.x(int64(s) * int64(time.Second)), fmt.Sprintf("%ds", s)})
	}
	return p, nil
}

// x is the place of a time.
func (p *chart) x(t int64) float64 {
	return plot.Scale{High: float64(p.end), From: left, To: width - right}.At(float64(t))
}

// latency is the height of a latency in milliseconds.
func (p *chart) latency(ms float64) float64 {
	return plot.Scale{Low: math.Pow10(lowest), High: math.Pow10(highest), From: float64(p.CallsEnd), To: float64(p.CallsTop), Log: true}.At(ms)
}

// laneFor is where the lane of a process is; false: it has none.
func (p *chart) laneFor(name string) (int, bool) {
	at := slices.IndexFunc(p.Lanes, func(l laneOf) bool { return l.Name == name })
	if at < 0 {
		return 0, false
	}
	return p.Lanes[at].Y, true
}

func rounded(t int64) time.Duration { return time.Duration(t).Round(time.Millisecond) }

// addPhases names the phases below the plot, as far as there is room.
func (p *chart) addPhases(ops []history.Op) error {
	free := float64(left)
	for _, op := range ops {
		if op.F != history.FPhase {
			continue
		}
		phase, err := history.Decode[history.Phase](op)
		if err != nil {
			return err
		}
		at := p.x(op.Time)
		end := at + letterWide*float64(len(phase.Name)+2)
		if at >= free && end <= width {
			p.Phases = append(p.Phases, mark{at, phase.Name})
			free = end
		}
	}
	return nil
}

// addCalls draws every call by its latency, and how many there were over time.
func (p *chart) addCalls(ops []history.Op) {
	started := map[int]int64{}
	counts := map[string][]float64{}
	for _, op := range ops {
		if op.Process < 0 {
			continue
		}
		if op.Type == history.Invoke {
			started[op.Process] = op.Time
			continue
		}
		from, class := started[op.Process], string(op.Type)
		p.Dots = append(p.Dots, dot{p.x(from), p.latency(float64(op.Time-from) / 1e6), class})
		if counts[class] == nil {
			counts[class] = make([]float64, buckets)
		}
		counts[class][min(buckets-1, int(op.Time*buckets/p.end))]++
	}
	p.addRates(counts)
	p.EachOf = 1 + len(p.Dots)/maxDots
	if p.EachOf > 1 {
		var some []dot
		for i := range p.Dots {
			// What went wrong is never left out.
			if i%p.EachOf == 0 || p.Dots[i].Class != string(history.OK) {
				some = append(some, p.Dots[i])
			}
		}
		p.Dots = some
	}
	// What went wrong lies on top.
	slices.SortStableFunc(p.Dots, func(a, b dot) int { return depth(a.Class) - depth(b.Class) })
}

func depth(class string) int {
	return slices.Index([]string{string(history.OK), string(history.Fail), string(history.Info)}, class)
}

// addRates draws how many calls ended in a second, each outcome by itself.
func (p *chart) addRates(counts map[string][]float64) {
	second := float64(buckets) * 1e9 / float64(p.end)
	most := 0.0
	for _, c := range counts {
		most = max(most, slices.Max(c)*second)
	}
	top := plot.Nice(most)
	height := plot.Scale{High: top, From: float64(p.RateEnd), To: float64(p.RateTop)}
	for _, class := range []string{string(history.OK), string(history.Fail), string(history.Info)} {
		c := counts[class]
		if c == nil {
			continue
		}
		points := make([]plot.Point, 0, 2*buckets)
		for i, n := range c {
			for _, edge := range []int{i, i + 1} {
				points = append(points, plot.Point{X: p.x(int64(edge) * p.end / buckets), Y: height.At(n * second)})
			}
		}
		p.Rates = append(p.Rates, line{class, points})
	}
	for _, part := range []float64{0, 0.5, 1} {
		p.RateRows = append(p.RateRows, mark{height.At(part * top), fmt.Sprintf("%.3g/s", part*top)})
	}
}
