package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Bounds of a plan: enough to keep thousands of slots busy, small enough for an entry.
const (
	maxPlanTasks   = 16384
	maxPlanAssigns = 4096
	// maxHeavy is how many tasks a worker may hold beyond its slots where they may have payloads:
	// of 64 KiB each they are 256 MiB, and of the largest size four times that.
	maxHeavy = 4096
	// maxUnknown is how many workers get tasks of a job in one plan while nobody knows how long
	// they take. Thousands of workers would get a no-op each otherwise; so the reports of the
	// first tell soon what a message to the others is worth.
	maxUnknown = 256
	// maxChunk bounds what one class gets at its turn.
	maxChunk = 2048
	// worthwhile is how much work is worth a message to a worker: some ten times what the message
	// and the report on it cost the servers and the worker, and about what a commit takes under
	// load, so that a job is hardly over later for it.
	worthwhile = 5 * time.Millisecond
)

// Input is all that a plan depends on.
type Input struct {
	View *fsm.View
	// Extra is, by place in View.Sessions, how many tasks a connected worker may hold beyond
	// its slots; Away: it is not connected, and gets nothing.
	Extra []int32
	// Runs is, by job, how long its tasks take, where that is known.
	Runs map[uint64]time.Duration
	// Seed varies what policy random does from plan to plan.
	Seed uint64
}

// Plan returns which tasks go to which workers. It is a pure function: the same input
// gives the same plan, whatever the order of sessions and maps.
func Plan(in Input) []*logpb.Assign {
	p := &planner{in: in, workers: make([]worker, 0, len(in.View.Sessions))}
	most := mostAhead(in.View)
	for i := range in.View.Sessions {
		if s, extra := &in.View.Sessions[i], in.Extra[i]; extra != Away {
			p.workers = append(p.workers, worker{SessionView: s, load: s.Assigned, limit: s.Slots + min(uint32(extra), most)})
		}
	}
	slices.SortFunc(p.workers, func(a, b worker) int { return cmp.Compare(a.ID, b.ID) })
	queues := make([]*classQueue, 0, len(in.View.Classes))
	for i := range in.View.Classes {
		if q := p.newQueue(i); len(q.among.workers) > 0 {
			queues = append(queues, q)
		}
	}
	// Classes take turns, so that a long one does not keep the others waiting.
	for len(queues) > 0 && !p.full() {
		queues = slices.DeleteFunc(queues, func(q *classQueue) bool { return p.full() || !p.step(q) })
	}
	return p.assigns
}

// mostAhead bounds the tasks that workers may hold beyond their slots while these jobs wait.
// Payloads are held in memory. Where the view does not show all that waits, the other views may
// have less room: with more in this one, workers would never have room for what those show.
func mostAhead(v *fsm.View) uint32 {
	if v.Next != "" {
		return maxHeavy
	}
	for i := range v.Classes {
		if slices.ContainsFunc(v.Classes[i].Jobs, func(j fsm.JobView) bool { return !j.Light }) {
			return maxHeavy
		}
	}
	return task.MaxOutstanding
}

type planner struct {
	in      Input
	workers []worker
	assigns []*logpb.Assign
	tasks   uint32
}

func (p *planner) full() bool { return p.tasks >= maxPlanTasks || len(p.assigns) >= maxPlanAssigns }

// worker is one that can be given tasks, and what this plan has given it.
type worker struct {
	*fsm.SessionView
	load, limit uint32
}

// room is how many more tasks it may hold.
func (w *worker) room(exclusive bool) uint32 {
	limit := w.limit
	if exclusive {
		limit = w.Slots
	}
	return limit - min(limit, w.load)
}

// classQueue is a class on its way through a plan.
type classQueue struct {
	jobs  []fsm.JobView
	among candidates
	chunk uint32
	// unknown is how often the first job was given while nobody knew how long its tasks take.
	unknown int
}

func (p *planner) newQueue(class int) *classQueue {
	q := &classQueue{jobs: slices.Clone(p.in.View.Classes[class].Jobs)}
	ready, room := uint32(0), uint32(0)
	workers := make([]*worker, 0, len(p.workers))
	for i := range p.workers {
		if w := &p.workers[i]; w.Accepts[class] && w.room(false) > 0 {
			workers = append(workers, w)
			room += w.room(false)
		}
	}
	for i := range q.jobs {
		ready += q.jobs[i].Budget
	}
	q.among.workers = workers
	if len(workers) > 0 {
		// Several chunks for each worker even them out; few tasks go one by one. Where a plan
		// has no room for all workers, the next ones serve the rest: thousands of workers
		// with a few tasks each would cost a message for a few tasks.
		const rounds = 4
		q.chunk = min(max(1, min(ready, room)/uint32(len(workers)*rounds)), maxChunk)
	}
	return q
}

// step gives one chunk of the class's first job to a worker. It returns false when
// nothing more of the class can be given.
func (p *planner) step(q *classQueue) bool {
	for len(q.jobs) > 0 {
		j := &q.jobs[0]
		if j.Budget == 0 || len(j.Ranges) == 0 {
			q.jobs, q.unknown = q.jobs[1:], 0
			continue
		}
		if q.unknown >= maxUnknown {
			return false // what is behind it must not overtake it
		}
		w := policyOf(j.Policy)(&q.among, j.Exclusive, p.in.Seed, uint64(len(p.assigns)))
		if w == nil {
			if !j.Exclusive {
				return false // nobody has room
			}
			// Exclusive tasks need a free slot; what follows may need less.
			q.jobs, q.unknown = q.jobs[1:], 0
			continue
		}
		if p.in.Runs[j.ID] <= 0 {
			q.unknown++
		}
		p.give(q, j, w)
		return true
	}
	return false
}

// worth is how many tasks of j are worth a message to w; 0: nobody knows. Thousands of
// workers would get a few no-ops each otherwise.
func (p *planner) worth(j *fsm.JobView, w *worker) uint32 {
	run := p.in.Runs[j.ID]
	if run <= 0 {
		return 0
	}
	return uint32(min(int64(worthwhile/run)*int64(w.Slots), maxChunk))
}

// give assigns one chunk of j to w.
func (p *planner) give(q *classQueue, j *fsm.JobView, w *worker) {
	// The view is shared with nobody, but the ranges are with the view.
	r := j.Ranges[0]
	n := min(r.Count, j.Budget, w.room(j.Exclusive), max(q.chunk, p.worth(j, w)), maxPlanTasks-p.tasks)
	p.assigns = append(p.assigns, &logpb.Assign{Job: j.ID, First: r.First, Count: n, Session: w.ID})
	p.tasks += n
	w.load += n
	j.Budget -= n
	if n == r.Count {
		j.Ranges = j.Ranges[1:]
	} else {
		rest := append([]fsm.Range{{First: r.First + n, Count: r.Count - n}}, j.Ranges[1:]...)
		j.Ranges = rest
	}
}
