package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// The order in which jobs come to workers. It is not replicated, and Apply knows nothing of it. So what a leader is
// shown, and what it plans, is checked against the state that it had.

// Before says whether j stands before another job of its queue.
func (j *Job) Before(other *Job) bool {
	return cmp.Or(cmp.Compare(other.Spec.Priority, j.Spec.Priority), cmp.Compare(j.ID, other.ID)) < 0
}

// Waits counts the tasks of j that could be granted at now.
func (j *Job) Waits(now int64) int {
	if j.Finished != 0 || j.Open && j.Hold || j.NotBefore > now || j.Sweep != 0 {
		return 0
	}
	if j.Spec.Serial {
		for i := range j.Tasks {
			if j.Grantable(uint32(i), now) {
				return 1
			}
		}
		return 0
	}
	n, held := 0, 0
	for _, t := range j.Tasks {
		switch {
		case t.State.Held():
			held++
		case (t.State == task.Pending || t.State == task.Scheduled) && t.NotBefore <= now:
			n++
		}
	}
	if limit := int(j.Spec.MaxParallel); limit > 0 {
		n = min(n, limit-held)
	}
	return n
}

// waiting is the jobs of each queue that have tasks to be granted, in the order in which they should.
func (m *Model) waiting(now int64) map[string][]*Job {
	out := map[string][]*Job{}
	for _, j := range m.JobList() {
		if j.Waits(now) > 0 {
			out[j.Spec.Queue] = append(out[j.Spec.Queue], j)
		}
	}
	for _, jobs := range out {
		slices.SortFunc(jobs, func(a, b *Job) int {
			if a.Before(b) {
				return -1
			}
			return 1
		})
	}
	return out
}

// CheckView returns what is wrong with a view from which nothing was left out because of its size.
func (m *Model) CheckView(v *fsm.View) (wrong []string) {
	failf := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for i, s := range v.Sessions {
		if m.Sessions[s.ID] == nil || int(s.Assigned) != m.load(s.ID) || i > 0 && v.Sessions[i-1].ID >= s.ID {
			failf("it shows session %d with %d tasks", s.ID, s.Assigned)
			return wrong
		}
	}
	shown := map[uint64]uint32{}
	for i, q := range v.Queues {
		if i > 0 && v.Queues[i-1].Turn >= q.Turn {
			failf("queue %s, which has turn %d, is shown before queue %s, which has turn %d", v.Queues[i-1].Name, v.Queues[i-1].Turn, q.Name, q.Turn)
		}
		for k, jv := range q.Jobs {
			j := m.Jobs[jv.ID]
			if j == nil || j.Spec.Queue != q.Name {
				failf("job %d is shown in queue %s", jv.ID, q.Name)
				return wrong
			}
			shown[j.ID] = jv.Budget
			m.checkShown(v, jv, j, failf)
			if k > 0 && !m.Jobs[q.Jobs[k-1].ID].Before(j) {
				failf("job %d is shown before job %d", q.Jobs[k-1].ID, j.ID)
			}
		}
	}
	for _, jobs := range m.waiting(v.Now) {
		for k, j := range jobs {
			// Tasks that ended before they were granted are only found when it is their turn.
			if want := m.owed(v, jobs[:k], j, shown); int(shown[j.ID]) < want || int(shown[j.ID]) > want+j.endedAhead() {
				failf("of job %d %d tasks are shown, want %d", j.ID, shown[j.ID], want)
			}
		}
	}
	return wrong
}

// checkShown checks what is shown of one job.
func (m *Model) checkShown(v *fsm.View, jv fsm.JobView, j *Job, failf func(string, ...any)) {
	sum := uint32(0)
	for _, r := range jv.Ranges {
		sum += r.Count
	}
	if len(jv.Ranges) == 0 || !j.Grantable(jv.Ranges[0].First, v.Now) || sum != jv.Budget || jv.Exclusive != j.Spec.Exclusive() || jv.Policy != j.Spec.Policy {
		failf("job %d is shown as %+v", j.ID, jv)
	}
	c := v.Classes[jv.Class]
	for _, s := range v.Sessions {
		if got, want := c.Accepting.Has(s.Able), m.Sessions[s.ID].Accepts(j.Spec); got != want {
			failf("session %d accepts job %d: %v, it is shown as %v", s.ID, j.ID, want, got)
		}
	}
	if c.More {
		failf("there is more of the class of job %d", j.ID)
	}
}

// owed is how many tasks of j a view must show: all, unless the tasks of its class that are shown before it take all
// the room of the workers that accept it.
func (m *Model) owed(v *fsm.View, before []*Job, j *Job, shown map[uint64]uint32) int {
	room := 0
	for _, s := range v.Sessions {
		if free := int(s.Slots) + int(s.Extra) - int(s.Assigned); free > 0 && m.Sessions[s.ID].Accepts(j.Spec) {
			if j.Spec.Exclusive() {
				free = int(s.Slots)
			}
			room += free
		}
	}
	for _, other := range before {
		if other.sameClass(j) {
			room -= int(shown[other.ID])
		}
	}
	if room <= 0 {
		return 0
	}
	return j.Waits(v.Now)
}

// endedAhead counts the tasks that have ended beyond the first one that was never touched.
func (j *Job) endedAhead() (n int) {
	for _, t := range j.Tasks[j.Frontier():] {
		if t.Touched {
			n++
		}
	}
	return n
}

func (j *Job) sameClass(other *Job) bool {
	a, b := j.Spec, other.Spec
	return a.Queue == b.Queue && a.Handler == b.Handler && a.Exclusive() == b.Exclusive() && slices.Equal(a.Require, b.Require)
}

// Worker is what a leader knows of a worker that is connected: how much it may be given.
type Worker struct {
	Session uint64
	Extra   int
}

// Turns says which queues a plan serves, and which it passes over.
type Turns struct {
	// Served is the queues that are given something.
	Served map[string]bool
	// Waiting is, by queue, the jobs that waited.
	Waiting map[string][]*Job
	// Passed has, by queue that is given nothing, the queues that are given what it could have used.
	Passed map[string]map[string]bool
}

// CheckPlan returns what is wrong with the order of a plan: no job may be given room which a job before it in its
// queue could use, and does not get.
func (m *Model) CheckPlan(plan *logpb.ApplyPlan, now int64, workers []Worker) (turns Turns, wrong []string) {
	type at struct{ job, session uint64 }
	given, load, to, by := map[uint64]int{}, map[uint64]int{}, map[at]bool{}, map[uint64]map[string]bool{}
	waiting := m.waiting(now)
	turns = Turns{Served: map[string]bool{}, Waiting: waiting, Passed: map[string]map[string]bool{}}
	for _, a := range plan.Assign {
		queue := m.Jobs[a.Job].Spec.Queue
		given[a.Job] += int(a.Count)
		load[a.Session] += int(a.Count)
		to[at{a.Job, a.Session}] = true
		if by[a.Session] == nil {
			by[a.Session] = map[string]bool{}
		}
		by[a.Session][queue], turns.Served[queue] = true, true
	}
	// A worker that is to have a free slot for exclusive tasks is given nothing in advance.
	kept := false
	for _, jobs := range waiting {
		for _, j := range jobs {
			kept = kept || j.Spec.Exclusive()
		}
	}
	for _, queue := range slices.Sorted(maps.Keys(waiting)) {
		passed := map[string]bool{}
		for k, j := range waiting[queue] {
			if given[j.ID] >= j.Waits(now) {
				continue
			}
			for _, w := range workers {
				s := m.Sessions[w.Session]
				if !s.Accepts(j.Spec) {
					continue
				}
				if !j.Spec.Exclusive() {
					maps.Copy(passed, by[s.Id])
				}
				most := int(s.Slots)
				if !kept && !j.Spec.Exclusive() {
					most += w.Extra
				}
				for _, behind := range waiting[queue][k+1:] {
					if to[at{behind.ID, s.Id}] && m.load(s.Id)+load[s.Id] < most {
						wrong = append(wrong, fmt.Sprintf("session %d is given tasks of job %d, and has room for job %d, which comes before it", s.Id, behind.ID, j.ID))
					}
				}
			}
		}
		if len(passed) > 0 && !turns.Served[queue] {
			turns.Passed[queue] = passed
		}
	}
	return turns, wrong
}

// CheckPlace returns what is wrong with the workers of a job that was placed with its submit: none of them may be
// one that a waiting job could use, in another queue or before it in its own.
func (m *Model) CheckPlace(spec *task.Spec, assigns []*logpb.Assign) (wrong []string) {
	for _, j := range m.JobList() {
		if j.Spec.Queue == spec.Queue && j.Spec.Priority < spec.Priority || j.NotBefore > 0 || j.Waits(m.Clock) == 0 {
			continue // or it may be due since, and nobody has looked at it yet
		}
		if !slices.ContainsFunc(j.Tasks, func(t *Task) bool { return t.State == task.Pending }) {
			continue
		}
		for _, a := range assigns {
			if m.Sessions[a.Session].Accepts(j.Spec) {
				wrong = append(wrong, fmt.Sprintf("a new job is placed at session %d, which job %d waits for", a.Session, j.ID))
			}
		}
	}
	return wrong
}

// Line checks the order of plans if only the log is known. A leader has one plan in flight. So when it makes a plan,
// it has seen what waited before the previous plan was applied.
type Line struct {
	term uint64
	// plans counts the plans of the term, and since is how many of them were applied when a job began to wait.
	plans int
	since map[uint64]int
	// passed counts, by queue, the plans in a row that gave others what it could have used.
	passed map[string]int
}

// Look must be called before an entry is applied to m. It returns what is wrong with the order of the plans in it.
func (l *Line) Look(m *Model, term uint64, clock int64, ops []*logpb.Op) (wrong []string) {
	if term != l.term {
		*l = Line{term: term, since: map[uint64]int{}, passed: map[string]int{}}
	}
	for _, j := range m.JobList() {
		if _, waits := l.since[j.ID]; j.Waits(clock) == 0 {
			delete(l.since, j.ID)
		} else if !waits {
			l.since[j.ID] = l.plans
		}
	}
	for _, op := range ops {
		if plan := op.GetApplyPlan(); plan != nil {
			l.plans++
			wrong = append(wrong, l.plan(m, plan)...)
		}
	}
	return wrong
}

// mostPassed is how many plans in a row may pass a queue over, with no more than four queues.
const mostPassed = 4

func (l *Line) plan(m *Model, plan *logpb.ApplyPlan) (wrong []string) {
	given, served := map[uint64]bool{}, map[string]bool{}
	for _, a := range plan.Assign {
		given[a.Job] = true
		if j := m.Jobs[a.Job]; j != nil {
			served[j.Spec.Queue] = true
		}
	}
	passed := map[string]int{}
	for _, id := range slices.Sorted(maps.Keys(l.since)) {
		j := m.Jobs[id]
		// It was not seen, or it was given something, or it needs a slot that is free.
		if l.since[id] > l.plans-2 || given[id] || j.Spec.Exclusive() {
			continue
		}
		for _, a := range plan.Assign {
			other, s := m.Jobs[a.Job], m.Sessions[a.Session]
			if other == nil || s == nil || !s.Accepts(j.Spec) {
				continue
			}
			if other.Spec.Queue == j.Spec.Queue && j.Before(other) {
				wrong = append(wrong, fmt.Sprintf("job %d passes job %d at session %d", other.ID, j.ID, s.Id))
			}
			if q := j.Spec.Queue; !served[q] {
				passed[q] = l.passed[q] + 1
			}
		}
	}
	for _, q := range slices.Sorted(maps.Keys(passed)) {
		if passed[q] >= mostPassed {
			wrong = append(wrong, fmt.Sprintf("%d plans in a row pass queue %s over", passed[q], q))
		}
	}
	l.passed = passed
	return wrong
}
