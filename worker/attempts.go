package worker

import (
	"slices"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/worker/report"
)

// attemptSet is a set of attempts. It keeps them as ranges of tasks by grant, so that a million
// attempts of one job are a few ranges.
type attemptSet struct {
	byGrant map[report.Grant]*task.RangeSet
	// count is how many attempts there are.
	count int
}

func newAttemptSet() attemptSet { return attemptSet{byGrant: map[report.Grant]*task.RangeSet{}} }

// missing returns those tasks of a range of a grant that the set lacks.
func (s *attemptSet) missing(g report.Grant, r task.Range) []task.Range {
	have := s.byGrant[g]
	if have == nil {
		return []task.Range{r}
	}
	var missing []task.Range
	for part, in := range have.Parts(r) {
		if !in {
			missing = append(missing, part)
		}
	}
	return missing
}

// add puts in tasks of a grant, of which the set may have some.
func (s *attemptSet) add(g report.Grant, r task.Range) {
	have := s.byGrant[g]
	if have == nil {
		have = &task.RangeSet{}
		s.byGrant[g] = have
	}
	before := have.Count()
	have.Add(r)
	s.count += int(have.Count() - before)
}

// remove takes out tasks of a grant, of which the set may lack some. It skips ranges that are not
// valid.
func (s *attemptSet) remove(g report.Grant, ranges []*rotav1.IndexRange) {
	have := s.byGrant[g]
	if have == nil {
		return
	}
	before := have.Count()
	for _, p := range ranges {
		if r := wire.RangeFromProto(p); r.Valid() {
			have.Remove(r)
		}
	}
	s.count -= int(before - have.Count())
	if have.Empty() {
		delete(s.byGrant, g)
	}
}

// toProto translates the set for a Hello.
func (s *attemptSet) toProto() []*rotav1.HeldTasks {
	out := make([]*rotav1.HeldTasks, 0, len(s.byGrant))
	for g, have := range s.byGrant {
		ranges := slices.Collect(have.All())
		out = append(out, &rotav1.HeldTasks{JobId: g.Job, TokenOffset: g.Offset, Ranges: wire.RangesToProto(ranges)})
	}
	return out
}

// tasksOf translates what a leader names in a message. It skips ranges that are not valid.
func tasksOf(h *rotav1.HeldTasks) (report.Grant, *task.RangeSet) {
	set := &task.RangeSet{}
	for _, p := range h.GetRanges() {
		if r := wire.RangeFromProto(p); r.Valid() {
			set.Add(r)
		}
	}
	return report.Grant{Job: h.GetJobId(), Offset: h.GetTokenOffset()}, set
}
