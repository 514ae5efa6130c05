package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// addBands draws each fault over everything, and into the lanes of whom it hit.
func (p *chart) addBands(ops []history.Op) error {
	open := false
	for _, op := range ops {
		if op.F != history.FFault && op.F != history.FHeal {
			continue
		}
		f, err := history.Decode[history.Fault](op)
		if err != nil {
			return err
		}
		if op.F == history.FFault {
			open = true
			p.Bands = append(p.Bands, band{
				X: p.x(op.Time), W: p.x(p.end) - p.x(op.Time), Kind: f.Kind, Class: class(f.Kind), Targets: f.Targets, From: rounded(op.Time), To: rounded(p.end),
			})
		} else if open {
			open = false
			b := &p.Bands[len(p.Bands)-1]
			b.W, b.To, b.Effect = p.x(op.Time)-b.X, rounded(op.Time), f.Effect
			// Whom it hit is known in the end.
			b.Targets = f.Targets
		}
	}
	p.nameBands()
	for i := range p.Bands {
		b := &p.Bands[i]
		for _, name := range slices.Compact(slices.Sorted(slices.Values(b.Targets))) {
			if y, known := p.laneFor(name); known {
				p.Bars = append(p.Bars, bar{b.X, b.W, y + barHigh + 1, 4, "hit " + b.Class, b.Kind + " on " + name})
			}
		}
	}
	return nil
}

// class is what a fault harms, which gives it its colour.
func class(kind string) string {
	switch {
	case strings.HasPrefix(kind, "partition"), strings.HasPrefix(kind, "packet"), strings.HasPrefix(kind, "conn"):
		return "network"
	case strings.HasPrefix(kind, "disk"), strings.HasPrefix(kind, "power"), kind == "wipe":
		return "disk"
	case strings.HasPrefix(kind, "clock"):
		return "clock"
	default:
		return "process"
	}
}

// nameBands names the faults above the plot, in as many rows as there are, so that no two
// names run into each other. One that has no room is named in the table only.
func (p *chart) nameBands() {
	free := make([]float64, namesHigh/nameRow)
	for i := range p.Bands {
		b := &p.Bands[i]
		for row := range free {
			if b.X >= free[row] {
				b.Name, b.NameY = b.Kind, nameRow*(row+1)-2
				free[row] = b.X + letterWide*float64(len(b.Kind)+1)
				break
			}
		}
	}
}

// addLeads draws each term from when a server first told of it to when one told of the next.
func (p *chart) addLeads(ops []history.Op) error {
	term := uint64(0)
	last := -1
	for _, op := range ops {
		if op.F != history.FLeader {
			continue
		}
		l, err := history.Decode[history.Leader](op)
		if err != nil {
			return err
		}
		y, known := p.laneFor(l.Leader)
		if l.Term <= term || !known {
			continue
		}
		x := p.x(op.Time)
		if last >= 0 {
			p.Bars[last].W = max(0.5, x-p.Bars[last].X-0.7)
		}
		term, last = l.Term, len(p.Bars)
		p.Bars = append(p.Bars, bar{x, p.x(p.end) - x, y, barHigh, "lead", fmt.Sprintf("%s leads in term %d", l.Leader, l.Term)})
	}
	return nil
}

// addExits marks the processes that ended by themselves.
func (p *chart) addExits(ops []history.Op) error {
	for _, op := range ops {
		if op.F != history.FExit {
			continue
		}
		e, err := history.Decode[history.Exit](op)
		if err != nil {
			return err
		}
		y, known := p.laneFor(e.Name)
		if !known {
			continue
		}
		kind := "invalid"
		if e.Excused {
			kind = "excused"
		}
		p.Exits = append(p.Exits, exit{p.x(op.Time), y + barHigh, fmt.Sprintf("%s ended with code %d at %v", e.Name, e.Code, rounded(op.Time)), kind})
	}
	return nil
}
