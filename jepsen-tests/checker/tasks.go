package checker

import (
	"fmt"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// seenOutcome is an outcome, and who showed it.
type seenOutcome struct {
	history.Outcome
	by string
}

// checkOutcomes is S3.
func checkOutcomes(v *view, r *Result) {
	for _, s := range missing(v.setup.Servers, v.results) {
		r.problem("%s did not show its results in the end", s)
	}
	first := map[taskID]seenOutcome{}
	see := func(id taskID, o history.Outcome, by string) {
		r.Compared++
		known, there := first[id]
		if !there {
			first[id] = seenOutcome{o, by}
		} else if known.Outcome != o {
			r.problem("task %v ended as %+v by %s, and as %+v by %s", id, known.Outcome, known.by, o, by)
		}
	}
	for i := range v.streams {
		for _, o := range v.streams[i].Out.Outcomes {
			see(taskID{v.streams[i].In.Job, o.Index}, o, "stream "+v.streams[i].In.Stream)
		}
	}
	totals := map[uint64]history.Job{}
	for _, server := range v.jobs {
		for _, j := range server.Value.Jobs {
			totals[j.ID] = j
		}
	}
	for _, server := range v.results {
		shown := map[taskID]bool{}
		for _, j := range server.Value.Jobs {
			for _, o := range j.Outcomes {
				id := taskID{j.Job, o.Index}
				if shown[id] {
					r.problem("%s shows two outcomes of task %v", server.Op.Node, id)
				}
				shown[id] = true
				see(id, o, server.Op.Node)
			}
			if t := totals[j.Job]; t.Final && len(j.Outcomes) != int(t.Total) {
				r.problem("%s shows %d results of job %d, which is final with %d tasks", server.Op.Node, len(j.Outcomes), j.Job, t.Total)
			}
		}
		for id, j := range totals {
			if j.Final && j.Total > 0 && !shown[taskID{id, 0}] {
				r.problem("%s shows no outcome of task %d.0, of a job that is final", server.Op.Node, id)
			}
		}
	}
	// A read that saw a final state has seen the outcome.
	for i := range v.tasks {
		c := &v.tasks[i]
		if c.Type != history.OK || !final(c.Out.State) {
			continue
		}
		r.Compared++
		id := taskID{c.Out.Job, c.Out.Index}
		if o, there := first[id]; there && (o.State != c.Out.State || o.Token != c.Out.Token || o.Attempt != c.Out.Attempt) {
			r.problem("op %d read task %v as %s under token %d, and it ended as %s under token %d by %s",
				c.Done.Index, id, c.Out.State, c.Out.Token, o.State, o.Token, o.by)
		}
	}
}

func final(state string) bool {
	return state == "succeeded" || state == "failed" || state == "cancelled"
}

// grant is one attempt at one task.
type grant struct {
	taskID
	attempt uint32
}

// checkTokens is S5.
func checkTokens(v *view, r *Result) {
	granted := map[uint64]grant{}
	byTask := map[taskID]map[uint32]uint64{}
	see := func(token uint64, g grant, by string) {
		if token == 0 {
			return
		}
		r.Compared++
		if other, known := granted[token]; known && other != g {
			r.problem("token %d is one of attempt %d at task %v and, by %s, of attempt %d at task %v", token, other.attempt, other.taskID, by, g.attempt, g.taskID)
			return
		}
		granted[token] = g
		if byTask[g.taskID] == nil {
			byTask[g.taskID] = map[uint32]uint64{}
		}
		byTask[g.taskID][g.attempt] = max(token, byTask[g.taskID][g.attempt])
	}
	started := map[uint64]bool{}
	for _, l := range v.ledger {
		see(l.Token, grant{taskID{l.Job, l.Index}, l.Attempt}, "the ledger")
		if l.What == "start" {
			if started[l.Token] {
				r.problem("task %d.%d was started twice under token %d", l.Job, l.Index, l.Token)
			}
			started[l.Token] = true
		}
	}
	holders := map[uint64]history.Grant{}
	for _, g := range v.grants {
		see(g.Value.Token, grant{taskID{g.Value.Job, g.Value.Index}, g.Value.Attempt}, g.Value.Worker)
		if h, known := holders[g.Value.Token]; known && h.Session != g.Value.Session {
			r.problem("token %d was given to session %d of %s and to session %d of %s", g.Value.Token, h.Session, h.Worker, g.Value.Session, g.Value.Worker)
		}
		holders[g.Value.Token] = g.Value
	}
	for i := range v.tasks {
		if c := &v.tasks[i]; c.Type == history.OK {
			see(c.Out.Token, grant{taskID{c.Out.Job, c.Out.Index}, c.Out.Attempt}, "a read")
		}
	}
	for _, server := range v.results {
		for _, j := range server.Value.Jobs {
			for _, o := range j.Outcomes {
				see(o.Token, grant{taskID{j.Job, o.Index}, o.Attempt}, server.Op.Node)
			}
		}
	}
	for id, tokens := range byTask {
		for attempt, token := range tokens {
			for later, other := range tokens {
				if later > attempt && other <= token {
					r.problem("task %v: attempt %d has token %d, the later attempt %d has token %d", id, attempt, token, later, other)
				}
			}
		}
	}
}

// checkSerial is S6. The ledger is in the order in which commands wrote it, so an older token behind a newer one is
// an overlap that happened, whatever the clocks say. Only a worker that was suspended together with its commands and
// its guard could write such a line, and no fault of this suite does that: the guard of a paused agent kills in
// time.
func checkSerial(v *view, r *Result) {
	serial := map[uint64]bool{}
	for i := range v.submits {
		if c := &v.submits[i]; acknowledged(c) && c.In.Serial {
			serial[c.Out.Job] = true
		}
	}
	newest := map[uint64]history.LedgerLine{}
	overlaps := 0
	defer func() { r.Note = fmt.Sprintf("%d lines of the ledger overlap", overlaps) }()
	for _, l := range v.ledger {
		if !serial[l.Job] {
			continue
		}
		r.Compared++
		last, begun := newest[l.Job]
		switch {
		case begun && l.Token < last.Token:
			overlaps++
			r.problem("serial job %d: task %d wrote %q under token %d behind token %d of task %d", l.Job, l.Index, l.What, l.Token, last.Token, last.Index)
			continue
		case begun && l.Index < last.Index:
			r.problem("serial job %d: task %d ran under token %d behind task %d", l.Job, l.Index, l.Token, last.Index)
		}
		newest[l.Job] = l
	}
}

// checkCancels is S7. A workload reads the task after the cancel was acknowledged: from
// then on no grant may come, and what was not over can only end cancelled.
func checkCancels(v *view, r *Result) {
	acknowledgedAt := map[uint64]int64{}
	for i := range v.cancels {
		c := &v.cancels[i]
		if c.Type != history.OK {
			continue
		}
		if at, known := acknowledgedAt[c.In.Job]; !known || c.Done.Time < at {
			acknowledgedAt[c.In.Job] = c.Done.Time
		}
	}
	outcomes := map[taskID]seenOutcome{}
	for _, server := range v.results {
		for _, j := range server.Value.Jobs {
			for _, o := range j.Outcomes {
				outcomes[taskID{j.Job, o.Index}] = seenOutcome{o, server.Op.Node}
			}
		}
	}
	for i := range v.tasks {
		c := &v.tasks[i]
		id := taskID{c.In.Job, c.In.Index}
		at, cancelled := acknowledgedAt[id.job]
		if c.Type != history.OK || !cancelled || c.Invoke.Time < at {
			continue
		}
		o, known := outcomes[id]
		if !known {
			continue
		}
		r.Compared++
		if o.Token > c.Out.Token {
			r.problem("op %d read task %v under token %d after its cancel was acknowledged, and it ended under token %d", c.Done.Index, id, c.Out.Token, o.Token)
		}
		if !final(c.Out.State) && o.State != "cancelled" {
			r.problem("op %d read task %v as %s after its cancel was acknowledged, and it ended as %s", c.Done.Index, id, c.Out.State, o.State)
		}
		if !final(c.Out.State) && c.Out.State != "stopping" {
			r.problem("op %d read task %v as %s after its cancel was acknowledged", c.Done.Index, id, c.Out.State)
		}
	}
}
