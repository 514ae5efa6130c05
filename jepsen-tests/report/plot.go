package report

import (
	"fmt"
	"math"
	"slices"
	"time"

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
	// maxDots bounds the calls that are drawn; of more, every so manyth is.
	maxDots = 8000
	// buckets is how many steps the rate has.
	buckets = 120
)

// plot is what is drawn.
type plot struct {
	Width, Height                    int
	LanesTop, LanesEnd               int
	RateTop, RateEnd                 int
	CallsTop, CallsEnd               int
	Left, Right, PhasesAt, SecondsAt int
	Bands                            []band
	Lanes                            []laneOf
	Bars                             []bar
	Exits                            []exit
	Rates                            []line
	RateRows                         []mark
	Dots                             []dot
	Rows, Columns                    []mark
	Phases                           []mark
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
type line struct{ Class, Points string }

// dot is a call.
type dot struct {
	X, Y  float64
	Class string
}

type mark struct {
	At   float64
	Text string
}

func newPlot(ops []history.Op, setup history.Setup) (plot, error) {
	processes := append(slices.Clone(setup.Servers), setup.Workers...)
	p := plot{Width: width, Left: left, Right: width - right, LanesTop: namesHigh + 4, end: max(ops[len(ops)-1].Time, 1)}
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
	step := int(nice(float64(seconds) / 12))
	for s := 0; s <= seconds; s += max(1, step) {
		p.Columns = append(p.Columns, mark{p.x(int64(s) * int64(time.Second)), fmt.Sprintf("%ds", s)})
	}
	return p, nil
}

// Wide is the width of a lane.
func (p plot) Wide() int { return p.Right - p.Left }

// BandHigh is the height of a band.
func (p plot) BandHigh() int { return p.CallsEnd - p.LanesTop }

// x is the place of a time.
func (p *plot) x(t int64) float64 {
	return left + float64(t)/float64(p.end)*(width-left-right)
}

// latency is the height of a latency in milliseconds.
func (p *plot) latency(ms float64) float64 {
	at := (math.Log10(max(ms, 1e-9)) - lowest) / (highest - lowest)
	return float64(p.CallsTop) + (1-min(1, max(0, at)))*callsHigh
}

// nice is the least of 1, 2 and 5, and their multiples by ten, that is no less.
func nice(v float64) float64 {
	if v <= 1 {
		return 1
	}
	power := math.Pow10(int(math.Floor(math.Log10(v))))
	for _, step := range []float64{1, 2, 5} {
		if v <= step*power {
			return step * power
		}
	}
	return 10 * power
}

// laneFor is where the lane of a process is; false: it has none.
func (p *plot) laneFor(name string) (int, bool) {
	at := slices.IndexFunc(p.Lanes, func(l laneOf) bool { return l.Name == name })
	if at < 0 {
		return 0, false
	}
	return p.Lanes[at].Y, true
}

func rounded(t int64) time.Duration { return time.Duration(t).Round(time.Millisecond) }

// addPhases names the phases below the plot, as far as there is room.
func (p *plot) addPhases(ops []history.Op) error {
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
func (p *plot) addCalls(ops []history.Op) {
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
func (p *plot) addRates(counts map[string][]float64) {
	second := float64(buckets) * 1e9 / float64(p.end)
	most := 0.0
	for _, c := range counts {
		most = max(most, slices.Max(c)*second)
	}
	top := nice(most)
	y := func(rate float64) float64 { return float64(p.RateEnd) - rate/top*rateHigh }
	for _, class := range []string{string(history.OK), string(history.Fail), string(history.Info)} {
		c := counts[class]
		if c == nil {
			continue
		}
		points := make([]byte, 0, buckets*24)
		for i, n := range c {
			for _, edge := range []int{i, i + 1} {
				points = fmt.Appendf(points, "%.1f,%.1f ", p.x(int64(edge)*p.end/buckets), y(n*second))
			}
		}
		p.Rates = append(p.Rates, line{class, string(points)})
	}
	for _, part := range []float64{0, 0.5, 1} {
		p.RateRows = append(p.RateRows, mark{y(part * top), fmt.Sprintf("%.3g/s", part*top)})
	}
}
