package checker

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// checkFencing is S4. Three things show a fenced attempt that was let in: an outcome under
// a lower token than one that was granted, an output that was made under another token than
// its outcome has, and a report that was recorded though a newer token was known before.
func checkFencing(v *view, r *Result) {
	ends := v.outcomes()
	for id, token := range v.newestTokens() {
		o, ended := ends[id]
		if !ended || o.Token == 0 {
			continue
		}
		r.Compared++
		if o.Token < token {
			r.problem("task %v ended as %s under token %d, and token %d had been granted", id, o.State, o.Token, token)
		}
	}
	for id, o := range ends {
		if token, ok := fenceOf(o.Output); ok {
			r.Compared++
			if token != o.Token {
				r.problem("task %v ended under token %d with an output that was made under token %d", id, o.Token, token)
			}
		}
	}
	checkVerdicts(v, r, ends)
	checkIdentities(v, r)
}

// fenceOf is the token that an output says it was made under.
func fenceOf(output string) (uint64, bool) {
	text, ok := strings.CutPrefix(output, history.Fence)
	if !ok {
		return 0, false
	}
	// Commands end their line.
	token, err := strconv.ParseUint(strings.TrimSuffix(text, `\n`), 10, 64)
	return token, err == nil
}

// newestTokens is the highest token that anybody saw of each task.
func (v *view) newestTokens() map[taskID]uint64 {
	newest := map[taskID]uint64{}
	see := func(id taskID, token uint64) { newest[id] = max(newest[id], token) }
	for _, g := range v.grants {
		see(taskID{g.Value.Job, g.Value.Index}, g.Value.Token)
	}
	for _, l := range v.ledger {
		see(taskID{l.Job, l.Index}, l.Token)
	}
	for i := range v.tasks {
		if c := &v.tasks[i]; c.Type == history.OK {
			see(taskID{c.Out.Job, c.Out.Index}, c.Out.Token)
		}
	}
	return newest
}

// checkVerdicts looks at the answers to reports.
func checkVerdicts(v *view, r *Result, ends map[taskID]history.Outcome) {
	granted := v.grantTimes()
	recorded := map[uint64]int{}
	sent := map[uint64][]int64{}
	for i := range v.reports {
		sent[v.reports[i].In.Token] = append(sent[v.reports[i].In.Token], v.reports[i].Invoke.Time)
	}
	for i := range v.reports {
		c := &v.reports[i]
		if c.Type != history.OK {
			continue
		}
		r.Compared++
		id := taskID{c.In.Job, c.In.Index}
		o, ended := ends[id]
		switch c.Out.Verdict {
		case "recorded":
			if first, twice := recorded[c.In.Token]; twice {
				r.problem("op %d: a report of task %v under token %d was recorded, as one before by op %d", c.Done.Index, id, c.In.Token, first)
			}
			recorded[c.In.Token] = c.Done.Index
			for token, at := range granted[id] {
				if token > c.In.Token && at < c.Invoke.Time {
					r.problem("op %d: a report of task %v under token %d was recorded, though token %d had been granted before it was sent", c.Done.Index, id, c.In.Token, token)
				}
			}
			if ended && c.In.Outcome == "succeeded" && (o.Token != c.In.Token || o.State == "failed") {
				r.problem("op %d: the success of task %v under token %d was recorded, and it ended as %s under token %d", c.Done.Index, id, c.In.Token, o.State, o.Token)
			}
		case "already":
			if ended && o.Token != c.In.Token {
				r.problem("op %d: a report of task %v under token %d is said to be recorded, and it ended under token %d", c.Done.Index, id, c.In.Token, o.Token)
			}
			// Reports on what the servers have ended are superseded.
			others := slices.ContainsFunc(sent[c.In.Token], func(at int64) bool { return at < c.Done.Time && at != c.Invoke.Time })
			if ended && !others {
				r.problem("op %d: a report of task %v under token %d is said to be recorded before, and was the first", c.Done.Index, id, c.In.Token)
			}
		case "superseded":
			if ended && o.Token == c.In.Token && o.State == "succeeded" {
				r.problem("op %d: a report of task %v under token %d is said to be superseded, and it ended under that token", c.Done.Index, id, c.In.Token)
			}
		}
	}
}

// grantTimes is when each token of a task was first seen by a worker.
func (v *view) grantTimes() map[taskID]map[uint64]int64 {
	times := map[taskID]map[uint64]int64{}
	for _, g := range v.grants {
		id := taskID{g.Value.Job, g.Value.Index}
		if times[id] == nil {
			times[id] = map[uint64]int64{}
		}
		if _, known := times[id][g.Value.Token]; !known {
			times[id][g.Value.Token] = g.Op.Time
		}
	}
	return times
}

// session is one session of a worker of the suite.
type session struct {
	worker string
	id     uint64
	lease  int64
	opened int64
	// alive is the newest moment from which the session had a lease for certain.
	alive int64
	// replaced is when another process said first that this one has ended; 0: none did.
	replaced int64
}

// workerSessions is all sessions of the suite's workers, in the order in which they were
// opened. A beat counts from when it was sent, since its answer came behind a Barrier; an
// attachment does not, since a deposed leader may have taken it.
func (v *view) workerSessions() map[uint64]*session {
	all := map[uint64]*session{}
	for _, n := range v.sessions {
		s := n.Value
		if old := all[s.Replaces]; s.Replaces != 0 && !s.Refused && old != nil && old.replaced == 0 {
			old.replaced = cmp.Or(s.First, s.Sent)
		}
		if s.Session == 0 || all[s.Session] != nil {
			continue
		}
		all[s.Session] = &session{worker: s.Worker, id: s.Session, lease: s.LeaseNs, opened: n.Op.Time, alive: s.Sent}
	}
	for _, b := range v.beats {
		if s := all[b.Value.Session]; s != nil {
			s.alive = max(s.alive, b.Value.Sent)
		}
	}
	return all
}

// lost says whether a session may have ended by a moment, and if not, why not.
func (s *session) lost(at int64) (bool, string) {
	if s.replaced != 0 && s.replaced < at {
		return true, ""
	}
	if at >= s.alive+s.lease {
		return true, ""
	}
	return false, fmt.Sprintf("session %d of %s had a lease until %v", s.id, s.worker, time.Duration(s.alive+s.lease))
}

// checkIdentities looks for two sessions of one worker at once.
func checkIdentities(v *view, r *Result) {
	byWorker := map[string][]*session{}
	for _, s := range v.workerSessions() {
		byWorker[s.worker] = append(byWorker[s.worker], s)
	}
	for worker, sessions := range byWorker {
		slices.SortFunc(sessions, func(a, b *session) int { return cmp.Compare(a.id, b.id) })
		for i := 1; i < len(sessions); i++ {
			r.Compared++
			if ok, why := sessions[i-1].lost(sessions[i].opened); !ok {
				r.problem("%s got session %d at %v, and %s", worker, sessions[i].id, time.Duration(sessions[i].opened), why)
			}
		}
	}
}
