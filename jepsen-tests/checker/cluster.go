package checker

import (
	"fmt"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// checkLeaders is S14. Only what a server says about itself counts: about others, it may know
// the term before it knows the leader.
func checkLeaders(v *view, r *Result) {
	terms := map[uint64]string{}
	for _, l := range v.leaders {
		if l.Value.Leader != l.Op.Node {
			continue
		}
		r.Compared++
		if other, known := terms[l.Value.Term]; known && other != l.Value.Leader {
			r.problem("%s says that %s leads in term %d; another server said that %s does", l.Op.Node, l.Value.Leader, l.Value.Term, other)
		}
		terms[l.Value.Term] = l.Value.Leader
	}
	// Each process of a server goes forward. The next process may begin with what is on its disk.
	type process struct{ node, started string }
	last := map[process]history.Sample{}
	for _, s := range v.samples {
		p := process{s.Op.Node, s.Value.Process}
		if before, known := last[p]; known {
			r.Compared++
			if s.Value.Term < before.Term {
				r.problem("op %d: %s was in term %d and is in term %d", s.Op.Index, p.node, before.Term, s.Value.Term)
			}
			if s.Value.Commit < before.Commit {
				r.problem("op %d: %s had commit index %d and has %d", s.Op.Index, p.node, before.Commit, s.Value.Commit)
			}
			if s.Value.Applied < before.Applied {
				r.problem("op %d: %s had applied index %d and has %d", s.Op.Index, p.node, before.Applied, s.Value.Applied)
			}
		}
		last[p] = s.Value
	}
}

// checkDigests is S15.
func checkDigests(v *view, r *Result) {
	if len(v.digests) == 0 {
		r.problem("the servers' states were not compared in the end")
	}
	type seen struct{ digest, node string }
	at := map[uint64]seen{}
	for _, d := range v.digests {
		shown := map[string]bool{}
		for _, s := range d.Value.Servers {
			if s.Error != "" {
				r.problem("%s has no digest at index %d: %s", s.Node, d.Value.Index, s.Error)
				continue
			}
			r.Compared++
			shown[s.Node] = true
			for _, wrong := range s.Violations {
				r.problem("%s at index %d: %s", s.Node, s.Index, wrong)
			}
			first, known := at[s.Index]
			if !known {
				at[s.Index] = seen{s.Digest, s.Node}
			} else if first.digest != s.Digest {
				r.problem("at index %d %s has digest %s, %s has %s", s.Index, first.node, first.digest, s.Node, s.Digest)
			}
		}
		for _, s := range v.setup.Servers {
			if !shown[s] && !slices.ContainsFunc(d.Value.Servers, func(x history.Digest) bool { return x.Node == s }) {
				r.problem("%s was not compared at index %d", s, d.Value.Index)
			}
		}
	}
}

// checkProcesses is S21.
func checkProcesses(v *view, r *Result) {
	for _, e := range v.exits {
		r.Compared++
		if !e.Value.Excused {
			r.problem("%s ended by itself with exit code %d: %s", e.Value.Name, e.Value.Code, e.Value.Tail)
		}
	}
	for _, l := range v.logs {
		r.Compared++
		for _, alarm := range l.Value.Alarms {
			r.problem("the log of %s says: %s", l.Value.Name, alarm)
		}
	}
}

// RecoverySoon is the time from a heal to the next acknowledged submit that is promised for
// 99 of a hundred. A test has a few heals, so that many tests together show it: Late.
const RecoverySoon = 2 * time.Second

// Late returns how many of the recoveries of many tests took longer than RecoverySoon, and how many may: one for
// each hundred that has begun.
func Late(took []time.Duration) (late, allowed int) {
	for _, d := range took {
		if d > RecoverySoon {
			late++
		}
	}
	return late, (len(took) + 99) / 100
}

// recovery is what came of a heal.
type recovery struct {
	op   history.Op
	kind string
	// took is the time to the next acknowledgement, or for how long there was none.
	took  time.Duration
	acked bool
}

// recoveries is what came of each heal. One that the next fault cut short says nothing,
// unless the time between the two was as long as bound.
func (v *view) recoveries(bound time.Duration) (out []recovery) {
	// Nobody submits any more once the load has ended.
	loadEnd := v.end
	for _, p := range v.phases {
		if p.Value.Name == "drain" {
			loadEnd = p.Op.Time
		}
	}
	for _, h := range v.heals {
		until := loadEnd
		for _, f := range v.faults {
			if f.Op.Index > h.Op.Index {
				until = min(until, f.Op.Time)
				break
			}
		}
		ack := v.firstAck(h.Op.Time)
		switch {
		case ack >= 0 && ack <= until:
			out = append(out, recovery{h.Op, h.Value.Kind, time.Duration(ack - h.Op.Time), true})
		case time.Duration(until-h.Op.Time) > bound:
			out = append(out, recovery{h.Op, h.Value.Kind, time.Duration(until - h.Op.Time), false})
		}
	}
	return out
}

// checkRecovery is L1.
func checkRecovery(v *view, r *Result) {
	bound := time.Duration(v.setup.RecoveryNs)
	var took []time.Duration
	for _, h := range v.recoveries(bound) {
		r.Compared++
		switch {
		case !h.acked:
			r.problem("op %d: after %s was healed nothing was acknowledged for %v", h.op.Index, h.kind, h.took.Round(time.Millisecond))
		case h.took > bound:
			r.problem("op %d: after %s was healed it took %v to the next acknowledgement, more than %v", h.op.Index, h.kind, h.took.Round(time.Millisecond), bound)
		}
		if h.acked {
			took = append(took, h.took)
		}
	}
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	late, allowed := Late(took)
	if late > allowed {
		r.problem("%d of %d heals were followed by an acknowledgement after more than %v only, the longest after %v; one of a hundred may be", late, len(took), RecoverySoon,
			took[len(took)-1].Round(time.Millisecond))
	}
	r.Note = fmt.Sprintf("heal to acknowledgement: median %v, longest %v of %d",
		took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond), len(took))
}

// firstAck is when the first submit or append was acknowledged that began at or after a
// time; -1: none.
func (v *view) firstAck(after int64) int64 {
	first := int64(-1)
	see := func(invoke, done history.Op) {
		if invoke.Time >= after && (first < 0 || done.Time < first) {
			first = done.Time
		}
	}
	for i := range v.submits {
		if c := &v.submits[i]; acknowledged(c) {
			see(c.Invoke, c.Done)
		}
	}
	for i := range v.appends {
		if c := &v.appends[i]; c.Type == history.OK {
			see(c.Invoke, c.Done)
		}
	}
	return first
}
