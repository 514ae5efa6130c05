package checker

import (
	"slices"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

const (
	// settled is how long after a fault the others have had time to elect a leader.
	settled = 2 * time.Second
	// lasting is how long a fault must be to count as one that does not end.
	lasting = 8 * time.Second
	// alone is how long after a fault a server that is cut off must have noticed that it has
	// no leader; from then on it refuses reads within refusedSoon, unless the machine is too
	// busy: of enoughLate reads, one at least.
	alone       = 5 * time.Second
	refusedSoon = time.Second
	enoughLate  = 3
	// mostElections is how many leaders may follow each other within a lasting fault once it has settled. With more,
	// the cluster does little but elect leaders.
	mostElections = 2
)

// window is one fault, from when it was injected to its heal.
type window struct {
	history.Fault
	from, to int64
	op       int
}

// windows is all faults.
func (v *view) windows() []window {
	var all []window
	for i, f := range v.faults {
		w := window{Fault: f.Value, from: f.Op.Time, to: v.end, op: f.Op.Index}
		if i < len(v.heals) {
			w.to, w.Effect = v.heals[i].Op.Time, v.heals[i].Value.Effect
			// Some faults choose whom they hit while they last.
			if heal := v.heals[i].Value; len(heal.Targets) > len(w.Targets) {
				w.Targets = heal.Targets
			}
		}
		all = append(all, w)
	}
	return all
}

// ofMinority says whether a fault takes a minority of the servers away from the others, and
// leaves those whole.
func (v *view) ofMinority(w window) bool {
	if len(w.Targets) == 0 || len(w.Targets) > (len(v.setup.Servers)-1)/2 || slices.ContainsFunc(w.Targets, func(t string) bool { return !slices.Contains(v.setup.Servers, t) }) {
		return false
	}
	switch w.Kind {
	case "kill", "lasting:kill", "pause", "pause:primaries", "pause-kill", "power", "power-torn":
		return true
	}
	return cutsOff(w)
}

// cutsOff says whether the targets of a fault and the other servers do not hear each other at all.
func cutsOff(w window) bool {
	return w.Kind == "lasting:partition" || strings.HasPrefix(w.Kind, "partition:") && !oneWay(w)
}

// oneWay says whether servers hear another one that does not hear them, or the other way.
func oneWay(w window) bool { return w.Kind == "partition:oneway" || w.Kind == "lasting:oneway" }

// votesChange is the workload in which servers lose their votes: a minority of the servers may be a majority of those
// that vote.
const votesChange = "membership"

// checkMajority is L3, by linearizable reads that every server is asked for from its own
// host: they need a round through the log, as submits do.
func checkMajority(v *view, r *Result) {
	if v.setup.Workload == votesChange {
		return
	}
	for _, w := range v.windows() {
		if !v.ofMinority(w) {
			continue
		}
		from := w.from + settled.Nanoseconds()
		asked, served := 0, 0
		late, refused := 0, 0
		for i := range v.probes {
			p := &v.probes[i]
			end := p.End(v.end)
			inside := slices.Contains(w.Targets, p.In.Server)
			switch {
			case p.Invoke.Time < from || end > w.to:
			case inside && cutsOff(w):
				r.Compared++
				if p.Type == history.OK {
					r.problem("op %d: %s, which %s cuts off, answered a linearizable read", p.Done.Index, p.In.Server, w.Kind)
				}
				if p.Invoke.Time >= w.from+alone.Nanoseconds() {
					late++
					if end-p.Invoke.Time < refusedSoon.Nanoseconds() {
						refused++
					}
				}
			case !inside:
				asked++
				if p.Type == history.OK {
					served++
				}
			}
		}
		if asked > 0 {
			r.Compared++
			if served == 0 {
				r.problem("op %d: while %s was on %v the other servers answered none of %d reads", w.op, w.Kind, w.Targets, asked)
			}
		}
		if late >= enoughLate && refused == 0 {
			r.problem("op %d: %v, which %s cuts off, kept all of %d callers waiting instead of refusing", w.op, w.Targets, w.Kind, late)
		}
	}
}

// checkLivelock is L4: a lasting fault must not make the others elect leaders without end, nor keep them from
// serving. A fault of one direction, of which the others hear half, is the hardest.
func checkLivelock(v *view, r *Result) {
	for _, w := range v.windows() {
		if w.to-w.from < lasting.Nanoseconds() || !v.ofMinority(w) && !oneWay(w) {
			continue
		}
		r.Compared++
		from := w.from + settled.Nanoseconds()
		terms := map[uint64]bool{}
		for _, l := range v.leaders {
			if l.Op.Time >= from && l.Op.Time <= w.to && l.Value.Leader == l.Op.Node {
				terms[l.Value.Term] = true
			}
		}
		if len(terms) > mostElections {
			r.problem("op %d: while %s was on %v for %v there were %d leaders", w.op, w.Kind, w.Targets, time.Duration(w.to-w.from).Round(time.Second), len(terms))
		}
		// Until its end: a cluster that has recovered serves in each half of what is left.
		half := from + (w.to-from)/2
		for _, part := range [][2]int64{{from, half}, {half, w.to}} {
			served := slices.ContainsFunc(v.probes, func(p history.Call[history.Probe, history.Probed]) bool {
				return p.Type == history.OK && p.Invoke.Time >= part[0] && p.Done.Time <= part[1] && !slices.Contains(w.Targets, p.In.Server)
			})
			if !served {
				r.problem("op %d: while %s was on %v nothing was served from %v to %v", w.op, w.Kind, w.Targets, time.Duration(part[0]), time.Duration(part[1]))
			}
		}
	}
	for _, p := range v.phases {
		if p.Value.Name == history.Drained && p.Value.Problem != "" {
			r.problem("op %d: what was submitted did not end while the fault went on: %s", p.Op.Index, p.Value.Problem)
		}
	}
}

// fullDisk is the fault that L6 is about.
const fullDisk = "disk:enospc"

// checkFullDisks is L6. A server refuses what it cannot store, and goes on when it can. A process may end only if it
// says that it must be started again.
func checkFullDisks(v *view, r *Result) {
	for _, w := range v.windows() {
		if w.Kind != fullDisk || w.Effect == 0 {
			continue
		}
		r.Compared++
		for _, e := range v.exits {
			if e.Op.Time >= w.from && e.Op.Time <= w.to && slices.Contains(w.Targets, e.Value.Name) && !strings.Contains(e.Value.Tail, "free some space") {
				r.problem("op %d: %s ended on a full disk, and did not say that space is to be freed: %s", e.Op.Index, e.Value.Name, e.Value.Tail)
			}
		}
		back := w.to + v.setup.RecoveryNs
		for _, name := range w.Targets {
			if !v.servesIn(name, w.to, back) && back < v.lastProbe() && v.unharmed(w.to, back) {
				r.problem("op %d: %s served no read for %v after its disk had space again", w.op, name, time.Duration(v.setup.RecoveryNs))
			}
		}
	}
}

// servesIn says whether a server answered a read within a time.
func (v *view) servesIn(name string, from, to int64) bool {
	return slices.ContainsFunc(v.probes, func(p history.Call[history.Probe, history.Probed]) bool {
		return p.In.Server == name && p.Type == history.OK && p.Invoke.Time >= from && p.Done.Time <= to
	})
}

func (v *view) lastProbe() int64 {
	last := int64(0)
	for i := range v.probes {
		last = max(last, v.probes[i].Invoke.Time)
	}
	return last
}

// unharmed says that no fault began within a time.
func (v *view) unharmed(from, to int64) bool {
	return !slices.ContainsFunc(v.faults, func(f history.Note[history.Fault]) bool { return f.Op.Time > from && f.Op.Time <= to })
}
