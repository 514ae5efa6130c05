package checker

import (
	"slices"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// checkPresence is S1.
func checkPresence(v *view, r *Result) {
	invoked := map[string]bool{}
	for i := range v.submits {
		invoked[v.submits[i].In.Key] = true
	}
	for _, s := range missing(v.setup.Servers, v.jobs) {
		r.problem("%s did not show its jobs in the end", s)
	}
	for _, server := range v.jobs {
		byID := map[uint64]history.Job{}
		for _, j := range server.Value.Jobs {
			if _, twice := byID[j.ID]; twice {
				r.problem("%s lists job %d twice", server.Op.Node, j.ID)
			}
			byID[j.ID] = j
			if !invoked[j.Key] {
				r.problem("%s has job %d with key %q, which nobody submitted", server.Op.Node, j.ID, j.Key)
			}
		}
		for i := range v.submits {
			c := &v.submits[i]
			if !acknowledged(c) {
				continue
			}
			r.Compared++
			j, there := byID[c.Out.Job]
			switch {
			case !there:
				r.problem("job %d (key %q), acknowledged by op %d, is lost on %s", c.Out.Job, c.In.Key, c.Done.Index, server.Op.Node)
			case j.Key != c.In.Key:
				r.problem("job %d was acknowledged for key %q, and has key %q on %s", c.Out.Job, c.In.Key, j.Key, server.Op.Node)
			case !c.In.Open && int(j.Total) != c.In.Tasks:
				r.problem("job %d was submitted with %d tasks, and has %d on %s", c.Out.Job, c.In.Tasks, j.Total, server.Op.Node)
			}
		}
	}
}

// checkKeys is S2.
func checkKeys(v *view, r *Result) {
	type made struct {
		job  uint64
		body string
		op   int
	}
	first := map[string]made{}
	bodies := map[string]map[string]bool{}
	for i := range v.submits {
		c := &v.submits[i]
		if bodies[c.In.Key] == nil {
			bodies[c.In.Key] = map[string]bool{}
		}
		bodies[c.In.Key][c.In.Body] = true
		if !acknowledged(c) {
			continue
		}
		r.Compared++
		m, known := first[c.In.Key]
		switch {
		case !known:
			first[c.In.Key] = made{c.Out.Job, c.In.Body, c.Done.Index}
		case m.job != c.Out.Job:
			r.problem("key %q made job %d (op %d) and job %d (op %d)", c.In.Key, m.job, m.op, c.Out.Job, c.Done.Index)
		case m.body != c.In.Body:
			r.problem("key %q was acknowledged with body %q (op %d) and with body %q (op %d)", c.In.Key, m.body, m.op, c.In.Body, c.Done.Index)
		}
	}
	for i := range v.submits {
		if c := &v.submits[i]; c.Out.Conflict && len(bodies[c.In.Key]) == 1 {
			r.problem("op %d: key %q was refused as one of another body, and there was none", c.Done.Index, c.In.Key)
		}
	}
	for _, server := range v.jobs {
		byKey := map[string]uint64{}
		for _, j := range server.Value.Jobs {
			if other, twice := byKey[j.Key]; twice && other != j.ID {
				r.problem("%s has job %d and job %d under key %q", server.Op.Node, other, j.ID, j.Key)
			}
			byKey[j.Key] = j.ID
		}
	}
}

// checkFailures is S17.
func checkFailures(v *view, r *Result) {
	// What another request with the same content may have made is no evidence.
	possible := map[string]bool{}
	for i := range v.submits {
		if v.submits[i].Type != history.Fail {
			possible[v.submits[i].In.Key] = true
		}
	}
	exists := map[string]string{}
	for _, server := range v.jobs {
		for _, j := range server.Value.Jobs {
			exists[j.Key] = server.Op.Node
		}
	}
	for i := range v.submits {
		c := &v.submits[i]
		if c.Type != history.Fail || possible[c.In.Key] {
			continue
		}
		r.Compared++
		if node, there := exists[c.In.Key]; there {
			r.problem("op %d said that submit %q had certainly failed (%s), and its job is on %s", c.Done.Index, c.In.Key, c.Done.Error, node)
		}
	}
	outputs := map[string]taskID{}
	for _, server := range v.results {
		for _, j := range server.Value.Jobs {
			for _, o := range j.Outcomes {
				outputs[o.Output] = taskID{j.Job, o.Index}
			}
		}
	}
	for i := range v.appends {
		c := &v.appends[i]
		refused := c.Type == history.OK && c.Out.Refused
		if c.Type != history.Fail && !refused {
			continue
		}
		r.Compared++
		if id, there := outputs[c.In.Payload]; there {
			r.problem("op %d said that append %q had certainly failed (%s), and it is task %v", c.Done.Index, c.In.Payload, c.Done.Error, id)
		}
	}
}

// checkConservation is S19.
func checkConservation(v *view, r *Result) {
	for i := range v.lists {
		list := &v.lists[i]
		if list.Type != history.OK {
			continue
		}
		r.Compared++
		there := map[uint64]bool{}
		for _, j := range list.Out.Jobs {
			there[j.ID] = true
			if j.Counted != j.Total {
				r.problem("op %d: job %d has %d tasks, and its states sum up to %d", list.Done.Index, j.ID, j.Total, j.Counted)
			}
		}
		for k := range v.submits {
			c := &v.submits[k]
			if acknowledged(c) && c.In.Queue == list.In.Queue && c.Done.Time < list.Invoke.Time && !there[c.Out.Job] {
				r.problem("op %d: job %d, acknowledged by op %d, is not in a linearizable list that began later", list.Done.Index, c.Out.Job, c.Done.Index)
			}
		}
	}
	for _, server := range v.jobs {
		r.Compared++
		for _, j := range server.Value.Jobs {
			if j.Counted != j.Total {
				r.problem("%s: job %d has %d tasks, and its states sum up to %d", server.Op.Node, j.ID, j.Total, j.Counted)
			}
		}
	}
}

// checkDrain is L2.
func checkDrain(v *view, r *Result) {
	for _, server := range v.jobs {
		for _, j := range server.Value.Jobs {
			r.Compared++
			if !j.Final {
				r.problem("job %d (key %q) is still %s on %s after the drain", j.ID, j.Key, j.State, server.Op.Node)
			}
		}
	}
	if !slices.ContainsFunc(v.phases, func(p history.Note[history.Phase]) bool { return p.Value.Name == "final" }) {
		r.problem("the run did not come as far as the final reads")
	}
}
