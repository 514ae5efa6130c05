package checker

import (
	"slices"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// checkStreams is S13. What a reader got, over all its resumes, must be the beginning of
// the one order in which the results of the job stand on all servers.
func checkStreams(v *view, r *Result) {
	order := map[uint64][]history.Outcome{}
	by := map[uint64]string{}
	for _, server := range v.results {
		for _, j := range server.Value.Jobs {
			known, there := order[j.Job]
			if !there {
				order[j.Job], by[j.Job] = j.Outcomes, server.Op.Node
				continue
			}
			r.Compared++
			if !slices.EqualFunc(known, j.Outcomes, func(a, b history.Outcome) bool { return a.Index == b.Index }) {
				r.problem("the results of job %d stand in another order on %s than on %s", j.Job, server.Op.Node, by[j.Job])
			}
		}
	}
	received := map[string]int{}
	for i := range v.streams {
		c := &v.streams[i]
		if c.In.Received != received[c.In.Stream] {
			r.problem("op %d: stream %s goes on behind %d results, and had %d", c.Invoke.Index, c.In.Stream, c.In.Received, received[c.In.Stream])
		}
		all, known := order[c.In.Job]
		for n, o := range c.Out.Outcomes {
			at := c.In.Received + n
			r.Compared++
			switch {
			case !known:
				r.problem("op %d: stream %s has results of job %d, which no server shows", c.Done.Index, c.In.Stream, c.In.Job)
			case at >= len(all):
				r.problem("op %d: stream %s has a result %d of job %d (task %d), which has %d", c.Done.Index, c.In.Stream, at, c.In.Job, o.Index, len(all))
			case all[at].Index != o.Index:
				r.problem("op %d: result %d of job %d is of task %d on stream %s, and of task %d on %s", c.Done.Index, at, c.In.Job, o.Index, c.In.Stream, all[at].Index, by[c.In.Job])
			}
		}
		received[c.In.Stream] = c.In.Received + len(c.Out.Outcomes)
		if c.Out.Complete && received[c.In.Stream] != len(all) {
			r.problem("op %d: stream %s was told that job %d is complete after %d of %d results", c.Done.Index, c.In.Stream, c.In.Job, received[c.In.Stream], len(all))
		}
	}
}
