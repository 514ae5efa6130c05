package fsm

import "github.com/rota-scheduler/rota/fsm/logpb"

// MaxEntryTasks bounds the weight of an entry of more than one op: about 30 ms of Apply, and
// room for several of the largest reports of honest workers.
const MaxEntryTasks = 1 << 16

// Named is how many tasks an op names itself, at least one.
func Named(op *logpb.Op) int {
	n := 1
	switch o := op.Op.(type) {
	case *logpb.Op_Submit:
		n += assigned(o.Submit.Assign)
	case *logpb.Op_ApplyPlan:
		n += assigned(o.ApplyPlan.Assign)
	case *logpb.Op_Report:
		n += reported(o.Report.Groups)
	case *logpb.Op_OpenSession:
		n += reported(o.OpenSession.Reports) + held(o.OpenSession.Held)
	case *logpb.Op_Overdue:
		n += held(o.Overdue.Held)
	case *logpb.Op_Collect:
		n += len(o.Collect.Jobs) + len(o.Collect.Keys)
	}
	return n
}

func assigned(assign []*logpb.Assign) (n int) {
	for _, a := range assign {
		n += int(a.Count)
	}
	return n
}

func reported(groups []*logpb.ReportGroup) (n int) {
	for _, g := range groups {
		n += counted(g.Ranges)
	}
	return n
}

func held(held []*logpb.Held) (n int) {
	for _, h := range held {
		n += counted(h.Ranges)
	}
	return n
}

func counted(ranges []*logpb.Range) (n int) {
	for _, r := range ranges {
		n += int(r.Count)
	}
	return n
}

// Weight is how many tasks, or whole pages of them, Apply has to look at for an op, by what the
// op names and by what its jobs and sessions have now.
func (m *Machine) Weight(op *logpb.Op) int {
	n := Named(op)
	switch o := op.Op.(type) {
	case *logpb.Op_SetVersion:
		return MaxEntryTasks + 1 // it stands alone
	case *logpb.Op_Cancel:
		if o.Cancel.Index == nil {
			m.mu.RLock()
			defer m.mu.RUnlock()
			n += min(m.jobs[o.Cancel.Job].weight(), maxSwept) // the rest has entries of its own
		}
	case *logpb.Op_Expire:
		m.mu.RLock()
		defer m.mu.RUnlock()
		for _, id := range o.Expire.Jobs {
			n += m.jobs[id].weight()
		}
		n = min(n, len(o.Expire.Jobs)+maxSwept) // the same
	case *logpb.Op_OpenSession:
		m.mu.RLock()
		defer m.mu.RUnlock()
		n += m.sessions[o.OpenSession.Replaces].weight()
	case *logpb.Op_CloseSession:
		m.mu.RLock()
		defer m.mu.RUnlock()
		n += m.sessions[o.CloseSession.Id].weight()
	}
	return n
}

// weight is how many tasks and pages there are to look at when all of j is.
func (j *job) weight() int {
	if j == nil {
		return 0
	}
	return int(j.live) + int(j.pageCount())
}

// weight is how many tasks there are to take off s.
func (s *session) weight() int {
	if s == nil {
		return 0
	}
	return int(s.assigned)
}
