package checker

import (
	"regexp"
	"slices"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// checkStale is S12.
func checkStale(v *view, r *Result) {
	for i := range v.stales {
		c := &v.stales[i]
		if c.Type != history.OK {
			continue
		}
		r.Compared++
		if c.Out.Applied < c.In.Min {
			r.problem("op %d: %s had seen index %d, and was answered from index %d", c.Done.Index, c.In.Session, c.In.Min, c.Out.Applied)
		}
		if c.Out.Total < c.In.Total {
			r.problem("op %d: %s had seen %d tasks of job %d, and was told of %d", c.Done.Index, c.In.Session, c.In.Total, c.In.Job, c.Out.Total)
		}
	}
}

// wipe is the fault that takes a server's folder away.
const wipe = "wipe"

// damages says whether a fault damages files of a server, which is replaced then.
func damages(w window) bool { return w.Kind == "disk:bitflip" || w.Kind == "disk:truncate" }

// checkMembers is S16: checkRemoved, and that servers which were wiped are others. What a server says of
// itself while it is being replaced is what it was at the place of the log to which it has come.
func checkMembers(v *view, r *Result) {
	checkRemoved(v, r)
	replacing := slices.DeleteFunc(v.windows(), func(w window) bool { return w.Kind != wipe && !damages(w) })
	replaced := func(name string, at int64) bool {
		return slices.ContainsFunc(replacing, func(w window) bool { return w.from <= at && at < w.to && slices.Contains(w.Targets, name) })
	}
	for _, w := range replacing {
		if w.Kind != wipe {
			continue
		}
		for _, name := range w.Targets {
			old := map[string]bool{}
			for _, s := range v.samples {
				if s.Op.Node == name && s.Op.Time < w.from && s.Value.ServerID != "" {
					old[s.Value.ServerID] = true
				}
			}
			for _, s := range v.samples {
				if s.Op.Node != name || s.Op.Time < w.to || s.Value.ServerID == "" || replaced(name, s.Op.Time) {
					continue
				}
				r.Compared++
				if old[s.Value.ServerID] {
					r.problem("op %d: %s was wiped, and has its old identity %s", s.Op.Index, name, s.Value.ServerID)
				}
			}
		}
	}
	for _, s := range v.samples {
		votes := map[string]string{}
		for _, voter := range s.Value.Voters {
			r.Compared++
			if other, twice := votes[voter.Node]; twice {
				r.problem("op %d: by the word of %s, %s votes as %s and as %s", s.Op.Index, s.Op.Node, voter.Node, other, voter.ServerID)
			}
			votes[voter.Node] = voter.ServerID
		}
	}
}

// checkRemoved is S16, as far as servers are removed: by the word of a server that has the log up to there, none of them
// votes any more.
func checkRemoved(v *view, r *Result) {
	for _, gone := range v.removed {
		for _, s := range v.samples {
			if s.Op.Time < gone.Op.Time || s.Value.Applied < gone.Value.Index {
				continue
			}
			r.Compared++
			for _, voter := range s.Value.Voters {
				if voter.Node == gone.Value.Node && voter.ServerID == gone.Value.ServerID {
					r.problem("op %d: by the word of %s, %s votes as %s, which was removed (op %d)", s.Op.Index, s.Op.Node, voter.Node, voter.ServerID, gone.Op.Index)
				}
			}
		}
	}
}

// refusals is what a server says that does not go on with what it cannot trust.
var refusals = regexp.MustCompile(`corrupt|checksum|not whole|not belong together|was lost or is older|older than it may be|cut short|malformed|invalid database|is empty|belongs to node|was removed from its cluster`)

// checkDamage is S18. Tasks return what they were given, on every server, whatever disks and transfers did to it. A
// server whose files were damaged either goes on as if nothing had happened, or ends and says why.
func checkDamage(v *view, r *Result) {
	jobs := v.submitsByJob()
	for _, server := range v.results {
		for _, j := range server.Value.Jobs {
			want := jobs[j.Job].Output
			if want == "" {
				continue
			}
			for _, o := range j.Outcomes {
				if o.State != "succeeded" {
					continue
				}
				r.Compared++
				if o.Output != want {
					r.problem("%s has task %d.%d with output %s, and %s was what it had to return", server.Op.Node, j.Job, o.Index, short(o.Output), short(want))
				}
			}
		}
	}
	harmed := map[string]int64{}
	for _, w := range v.windows() {
		if !damages(w) {
			continue
		}
		r.Compared++
		for _, t := range w.Targets {
			if at, known := harmed[t]; !known || w.from < at {
				harmed[t] = w.from
			}
		}
	}
	for _, e := range v.exits {
		if at, known := harmed[e.Value.Name]; known && e.Op.Time > at && !refusals.MatchString(e.Value.Tail) {
			r.problem("op %d: %s, whose files were damaged, ended with exit code %d and does not say why: %s", e.Op.Index, e.Value.Name, e.Value.Code, e.Value.Tail)
		}
	}
	if len(harmed) > 0 {
		divergence := Result{}
		checkDigests(v, &divergence)
		checkOutcomes(v, &divergence)
		for _, p := range divergence.Problems {
			r.problem("after files were damaged: %s", p)
		}
	}
}

// short is the beginning of an output, for messages.
func short(text string) string {
	const most = 40
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

// mostAhead is how many tasks a worker may hold beyond its slots.
const mostAhead = 16384

// checkLimits is S20.
func checkLimits(v *view, r *Result) {
	jobs := v.submitsByJob()
	check := func(op history.Op, list []history.Job) {
		for _, j := range list {
			s := jobs[j.ID]
			limit := s.MaxParallel
			if s.Serial {
				limit = 1
			}
			if limit == 0 {
				continue
			}
			r.Compared++
			if j.Held > limit {
				r.problem("op %d: job %d has %d tasks assigned, %d are its limit", op.Index, j.ID, j.Held, limit)
			}
		}
	}
	for i := range v.lists {
		if list := &v.lists[i]; list.Type == history.OK {
			check(list.Done, list.Out.Jobs)
		}
	}
	for _, n := range v.workers {
		for _, w := range n.Value.Workers {
			r.Compared++
			if w.Running > w.Slots {
				r.problem("op %d: worker %s runs %d tasks in %d slots", n.Op.Index, w.Name, w.Running, w.Slots)
			}
			if w.Assigned > w.Slots+mostAhead {
				r.problem("op %d: worker %s holds %d tasks with %d slots", n.Op.Index, w.Name, w.Assigned, w.Slots)
			}
		}
	}
}

// How much more a server may use after the drain than before the faults.
const (
	moreFiles = 30
	// moreRoutines is what that many files stand for: a connection with a stream has four goroutines.
	moreRoutines = 4 * moreFiles
	moreHeap     = 64 << 20
	// moreLog is three files of raft-wal, each of which takes its 64 MiB when it is made: the last one before a
	// received snapshot, the first one after it, and the next. The rest is for the database that lists the files.
	moreLog = 3*64<<20 + 1<<20
)

// checkUsage is L7. It compares the samples after the drain with the first ones of the run, from the server that
// used most: a leader uses more than others, and leaders change.
func checkUsage(v *view, r *Result) {
	faults, final := v.phaseAt("faults"), v.phaseAt("final")
	if faults < 0 || final < 0 {
		return
	}
	type usage struct{ routines, files, heap, log int64 }
	var before usage
	after := map[string]usage{}
	for _, s := range v.samples {
		u := usage{s.Value.Routines, s.Value.Files, s.Value.Heap, s.Value.Log}
		switch {
		case s.Op.Time < faults:
			before = usage{max(before.routines, u.routines), max(before.files, u.files), max(before.heap, u.heap), max(before.log, u.log)}
		case s.Op.Time >= final:
			if a, known := after[s.Op.Node]; known {
				u = usage{min(a.routines, u.routines), min(a.files, u.files), min(a.heap, u.heap), min(a.log, u.log)}
			}
			after[s.Op.Node] = u
		}
	}
	for _, node := range v.setup.Servers {
		a, sampled := after[node]
		if !sampled || before == (usage{}) {
			continue
		}
		for _, m := range []struct {
			what              string
			was, is, moreThan int64
		}{
			{"goroutines", before.routines, a.routines, moreRoutines}, {"open files", before.files, a.files, moreFiles},
			{"bytes of heap", before.heap, a.heap, moreHeap}, {"bytes of log", before.log, a.log, moreLog},
		} {
			r.Compared++
			if m.is > m.was+m.moreThan {
				r.problem("%s has %d %s after the drain; before the faults no server had more than %d", node, m.is, m.what, m.was)
			}
		}
	}
}

// phaseAt is when a phase began; -1: never.
func (v *view) phaseAt(name string) int64 {
	at := slices.IndexFunc(v.phases, func(p history.Note[history.Phase]) bool { return p.Value.Name == name })
	if at < 0 {
		return -1
	}
	return v.phases[at].Op.Time
}
