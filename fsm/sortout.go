package fsm

import (
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// SortedOut is a report of which this server has looked what its session holds.
type SortedOut struct {
	// Held is the part that is to be recorded, Counts how many tasks of each group that is.
	Held   []*logpb.ReportGroup
	Counts []int
	// Ahead says that tokens are named which nobody was granted as far as this server has
	// applied the log. All else that is not held is a fact that no later entry changes: a
	// token that is not current will never be again.
	Ahead bool

	rest []verdicts
}

// SortOut says what of a report its session holds now.
func (m *Machine) SortOut(session uint64, groups []*logpb.ReportGroup) *SortedOut {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := &SortedOut{Held: make([]*logpb.ReportGroup, 0, len(groups)), Counts: make([]int, len(groups))}
	for n, g := range groups {
		v := m.newVerdicts(session, g)
		if count, all := v.whole(); all {
			s.Held, s.Counts[n] = append(s.Held, g), count
			continue
		}
		var held []*logpb.Range
		v.sort(func(first, count uint32) { addIndex(&held, first, count); s.Counts[n] += int(count) }, func(uint32, uint32) {})
		s.Ahead = s.Ahead || ahead(v.runs, m.nextToken)
		s.rest = append(s.rest, v)
		if held != nil {
			s.Held = append(s.Held, part(g, held))
		}
	}
	return s
}

// ahead says whether exceptions have a token from next on.
func ahead(exceptions []Exception, next uint64) bool {
	for _, e := range exceptions {
		if last := int64(e.First) + int64(e.Count) - 1 + e.TokenOffset; last >= int64(next) {
			return true
		}
	}
	return false
}

// Exceptions returns the verdicts on what is not held. ask asks the disk, as History.Tokens does.
func (s *SortedOut) Exceptions(ask func(job uint64, tasks []task.Range, f func(task.Range, LastToken)) error) (out []Exception, err error) {
	for _, v := range s.rest {
		if out, err = v.settle(out, ask); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// part is a group without the tasks that are not among held, which is in the group's order.
func part(g *logpb.ReportGroup, held []*logpb.Range) *logpb.ReportGroup {
	out := &logpb.ReportGroup{
		Job: g.Job, TokenOffset: g.TokenOffset, Ranges: held, Outcome: g.Outcome, Reason: g.Reason,
		ExitCodePlusOne: g.ExitCodePlusOne, Error: g.Error, StderrTail: g.StderrTail, Permanent: g.Permanent,
		OutputMissing: g.OutputMissing, OutputHead: g.OutputHead, StderrMissing: g.StderrMissing,
	}
	outputs, usages, next := g.PackedOutputs, g.PackedUsage, 0
	taken := uint32(0) // of held[next]
	eachIndex(g.Ranges, func(i uint32) {
		output, rest, printed := task.PackNext(outputs)
		usage, others, used := task.PackNext(usages)
		if outputs, usages = rest, others; !printed && !used || next == len(held) || i != held[next].First+taken {
			return
		}
		if printed {
			out.PackedOutputs = task.PackAppend(out.PackedOutputs, output)
		}
		if used {
			out.PackedUsage = task.PackAppend(out.PackedUsage, usage)
		}
		if taken++; taken == held[next].Count {
			next, taken = next+1, 0
		}
	})
	return out
}
