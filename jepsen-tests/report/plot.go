package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// The size of the plot in SVG units: lanes of leaders above, calls below.
const (
	width, left, lanesTop, lane = 1100, 70, 20, 14
	callsHeight                 = 300
	// Latencies from 10^lowest to 10^highest milliseconds fit.
	lowest, highest = -1, 4
	// maxDots bounds the calls that are drawn; of more, every so manyth is.
	maxDots = 8000
)

// plot is what is drawn.
type plot struct {
	Width, Height       int
	CallsTop, CallsHigh int
	Bands               []band
	Lanes               []laneOf
	Leads               []lead
	Dots                []dot
	Rows, Columns       []mark
	// EachOf: one of so many calls is drawn.
	EachOf int
}

// band is a fault.
type band struct {
	X, W     float64
	Kind     string
	Targets  string
	From, To time.Duration
	Effect   int64
}

// laneOf is the line of a server, lead the time that it led.
type laneOf struct {
	Y    int
	Name string
}

type lead struct {
	X, W float64
	Y    int
	Term uint64
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

func newPlot(ops []history.Op, setup history.Setup) (plot, error) {
	end := max(ops[len(ops)-1].Time, 1)
	x := func(t int64) float64 { return left + float64(t)/float64(end)*(width-left-10) }
	p := plot{Width: width, CallsTop: lanesTop + lane*len(setup.Servers) + 20, CallsHigh: callsHeight}
	p.Height = p.CallsTop + callsHeight + 30
	for i, s := range setup.Servers {
		p.Lanes = append(p.Lanes, laneOf{lanesTop + lane*i, s})
	}
	if err := p.addBands(ops, x, end); err != nil {
		return p, err
	}
	if err := p.addLeads(ops, setup, x, end); err != nil {
		return p, err
	}
	p.addDots(ops, x)
	for power := lowest; power <= highest; power++ {
		p.Rows = append(p.Rows, mark{p.y(math.Pow10(power)), (time.Duration(math.Pow10(power+6)) * time.Nanosecond).String()})
	}
	step := max(1, int(time.Duration(end).Seconds())/10)
	for s := 0; s <= int(time.Duration(end).Seconds()); s += step {
		p.Columns = append(p.Columns, mark{x(int64(s) * int64(time.Second)), fmt.Sprintf("%ds", s)})
	}
	return p, nil
}

// y is the height of a latency in milliseconds.
func (p *plot) y(ms float64) float64 {
	at := (math.Log10(max(ms, 1e-9)) - lowest) / (highest - lowest)
	return float64(p.CallsTop) + (1-min(1, max(0, at)))*callsHeight
}

func (p *plot) addBands(ops []history.Op, x func(int64) float64, end int64) error {
	var open *band
	for _, op := range ops {
		if op.F != history.FFault && op.F != history.FHeal {
			continue
		}
		f, err := history.Decode[history.Fault](op)
		if err != nil {
			return err
		}
		if op.F == history.FFault {
			p.Bands = append(p.Bands, band{
				X: x(op.Time), W: x(end) - x(op.Time), Kind: f.Kind, Targets: strings.Join(f.Targets, " "), From: rounded(op.Time), To: rounded(end),
			})
			open = &p.Bands[len(p.Bands)-1]
		} else if open != nil {
			open.W, open.To, open.Effect = x(op.Time)-open.X, rounded(op.Time), f.Effect
		}
	}
	return nil
}

func rounded(t int64) time.Duration { return time.Duration(t).Round(time.Millisecond) }

// addLeads draws each term from when a server first told of it to when one told of the next.
func (p *plot) addLeads(ops []history.Op, setup history.Setup, x func(int64) float64, end int64) error {
	term := uint64(0)
	for _, op := range ops {
		if op.F != history.FLeader {
			continue
		}
		l, err := history.Decode[history.Leader](op)
		if err != nil {
			return err
		}
		at := slices.Index(setup.Servers, l.Leader)
		if l.Term <= term || at < 0 {
			continue
		}
		if n := len(p.Leads); n > 0 {
			p.Leads[n-1].W = x(op.Time) - p.Leads[n-1].X
		}
		term = l.Term
		p.Leads = append(p.Leads, lead{X: x(op.Time), W: x(end) - x(op.Time), Y: p.Lanes[at].Y, Term: l.Term})
	}
	return nil
}

func (p *plot) addDots(ops []history.Op, x func(int64) float64) {
	started := map[int]int64{}
	for _, op := range ops {
		if op.Process < 0 {
			continue
		}
		if op.Type == history.Invoke {
			started[op.Process] = op.Time
			continue
		}
		from := started[op.Process]
		p.Dots = append(p.Dots, dot{x(from), p.y(float64(op.Time-from) / 1e6), string(op.Type)})
	}
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
}
