package checker

import (
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// sampleTakes is how old a sample may be when it is noted.
const sampleTakes = 2 * time.Second

// checkVersions is S22.
func checkVersions(v *view, r *Result) {
	// A process is of one build. It may not have said which one each time.
	type process struct{ node, started string }
	type life struct {
		knows, version uint32
		first, last    int64
	}
	lives := map[process]life{}
	for _, s := range v.samples {
		if s.Value.Version == 0 {
			continue
		}
		p := process{s.Op.Node, s.Value.Process}
		l, known := lives[p]
		if !known {
			l = life{first: s.Op.Time}
		}
		l.knows = max(l.knows, s.Value.Knows)
		r.Compared++
		if s.Value.Version < l.version {
			r.problem("op %d: %s had version %d of the log and has %d", s.Op.Index, p.node, l.version, s.Value.Version)
		}
		l.version, l.last = s.Value.Version, s.Op.Time
		lives[p] = l
	}
	for _, s := range v.samples {
		for p, l := range lives {
			if l.knows != 0 && l.knows < s.Value.Version && l.first <= s.Op.Time && s.Op.Time <= l.last-int64(sampleTakes) {
				r.problem("op %d: %s has version %d of the log, and %s knows %d", s.Op.Index, s.Op.Node, s.Value.Version, p.node, l.knows)
			}
		}
	}
	checkRisen(v, r)
}

// checkRisen checks that in the end the version is the newest one that all servers know.
func checkRisen(v *view, r *Result) {
	recovery := v.phaseAt("recovery")
	last := map[string]history.Sample{}
	for _, s := range v.samples {
		if recovery >= 0 && s.Op.Time >= recovery && s.Value.Knows > 0 {
			last[s.Op.Node] = s.Value
		}
	}
	known := uint32(0)
	for _, node := range v.setup.Servers {
		s, sampled := last[node]
		if !sampled {
			return // it did not say what it knows
		}
		if known == 0 || s.Knows < known {
			known = s.Knows
		}
	}
	for _, node := range v.setup.Servers {
		r.Compared++
		if s := last[node]; s.Version != known {
			r.problem("in the end %s has version %d of the log, and all servers know %d", node, s.Version, known)
		}
	}
}
