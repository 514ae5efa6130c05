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
	// maxHeavy is how many tasks a worker may hold beyond its slots if they may have payloads. With 64 KiB
	// each, they take 256 MiB; with the largest payloads, four times that.
	maxHeavy = 4096
	// maxUnknown is how many workers get tasks of a job in one plan while nobody knows how long
	// they take. Otherwise, thousands of workers would get a no-op each. The first reports soon tell
	// what a message to the others is worth.
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
	// Runs is, by job, how long its tasks take, where that is known.
	Runs map[uint64]time.Duration
	// Seed varies what policy random does from plan to plan.
	Seed uint64
}

// Plan returns which tasks go to which workers. It is a pure function: the same input gives the same
// plan, whatever the order of sessions and maps.
//
// Queues take turns, in the order of the view: a turn is one chunk to one worker. Within a
// queue a job gives way to another one only if it can use no room that the other one takes.
func Plan(in Input) []*logpb.Assign {
	p := &planner{in: in, workers: make([]worker, 0, len(in.View.Sessions)), classes: make([]class, len(in.View.Classes))}
	most := mostAhead(in.View)
	for i := range in.View.Sessions {
		s := &in.View.Sessions[i]
		p.workers = append(p.workers, worker{SessionView: s, load: s.Assigned, limit: s.Slots + min(uint32(s.Extra), most)})
	}
	slices.SortFunc(p.workers, func(a, b worker) int { return cmp.Compare(a.ID, b.ID) })
	queues := make([]*queue, 0, len(in.View.Queues))
	for i := range in.View.Queues {
		queues = append(queues, p.newQueue(&in.View.Queues[i]))
	}
	p.keepSlots(queues)
	for len(queues) > 0 && !p.full() {
		queues = slices.DeleteFunc(queues, func(q *queue) bool { return p.full() || !p.step(q) })
	}
	return p.assigns
}

// mostAhead bounds the tasks that workers may hold beyond their slots while these jobs wait.
// Payloads are held in memory. If the view does not show all that waits, the other views may
// have less room: with more in this one, workers would never have room for what those show.
func mostAhead(v *fsm.View) uint32 {
	if v.From != 0 || v.Next != 0 {
		return maxHeavy
	}
	for i := range v.Queues {
		if slices.ContainsFunc(v.Queues[i].Jobs, func(j fsm.JobView) bool { return !j.Light }) {
			return maxHeavy
		}
	}
	return task.MaxOutstanding
}

type planner struct {
	in      Input
	workers []worker
	classes []class
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

// queue is a queue on its way through a plan.
type queue struct {
	jobs []fsm.JobView
	// classes is those of its jobs.
	classes []uint8
	// given is how many tasks of the first range of the first job were given, and unknown how
	// often that job was given while nobody knew how long its tasks take.
	given   uint32
	unknown int
	// rests is the classes that have had their share of this plan: workers that they could use
	// are not for jobs behind them.
	rests []uint8
}

// class is a class on its way through a plan.
type class struct {
	// ready is how many tasks of it are shown, jobs how many of its jobs are left.
	ready     uint32
	jobs      int
	exclusive bool
	// among is who can be given tasks of it, once somebody asks.
	among *candidates
	chunk uint32
	// over: nothing more of it can be given in this plan.
	over bool
}

func (p *planner) newQueue(v *fsm.QueueView) *queue {
	q := &queue{jobs: slices.Clone(v.Jobs)}
	for i := range q.jobs {
		c := &p.classes[q.jobs[i].Class]
		if c.jobs == 0 {
			q.classes = append(q.classes, q.jobs[i].Class)
		}
		c.ready += q.jobs[i].Budget
		c.exclusive = q.jobs[i].Exclusive
		c.jobs++
	}
	return q
}

// among returns who can be given tasks of a class of q.
func (p *planner) among(q *queue, class uint8) *candidates {
	c := &p.classes[class]
	if c.among != nil {
		return c.among
	}
	accepting := p.in.View.Classes[class].Accepting
	workers := make([]*worker, 0, len(p.workers))
	room := uint32(0)
	for i := range p.workers {
		w := &p.workers[i]
		if n := w.room(false); n > 0 && accepting.Has(w.Able) && !p.claimed(q, w) {
			workers = append(workers, w)
			room += n
		}
	}
	c.among = &candidates{workers: workers}
	if len(workers) > 0 {
		// Several chunks for each worker even them out; few tasks go one by one. If a plan
		// has no room for all workers, the next ones serve the rest: thousands of workers
		// with a few tasks each would cost a message for a few tasks.
		const rounds = 4
		c.chunk = min(max(1, min(c.ready, room)/uint32(len(workers)*rounds)), maxChunk)
	}
	return c.among
}

// claimed says that w is not for the jobs that are left of q, but for those of a class that rests.
func (p *planner) claimed(q *queue, w *worker) bool {
	return slices.ContainsFunc(q.rests, func(class uint8) bool { return p.in.View.Classes[class].Accepting.Has(w.Able) })
}

// rest ends the part of a class in this plan, though there may be room for more of it.
func (p *planner) rest(q *queue, class uint8) {
	p.classes[class].over = true
	q.rests = append(q.rests, class)
	for _, other := range q.classes {
		p.classes[other].among = nil // without those workers from now on
	}
}

// drop goes on to the next job.
func (p *planner) drop(q *queue) {
	class := q.jobs[0].Class
	q.jobs, q.given, q.unknown = q.jobs[1:], 0, 0
	c := &p.classes[class]
	if c.jobs--; c.jobs == 0 && p.in.View.Classes[class].More && !c.over {
		p.rest(q, class)
	}
}

// step gives a queue its turn: one chunk of its first job to a worker. It returns false when
// nothing more of the queue can be given.
func (p *planner) step(q *queue) bool {
	for len(q.jobs) > 0 {
		j := &q.jobs[0]
		c := &p.classes[j.Class]
		if c.over || j.Budget == 0 || len(j.Ranges) == 0 {
			p.drop(q)
			continue
		}
		if q.unknown >= maxUnknown {
			p.rest(q, j.Class)
			continue
		}
		w := policyOf(j.Policy)(p.among(q, j.Class), j.Exclusive, p.in.Seed, uint64(len(p.assigns)))
		if w == nil {
			c.over = true // nobody has room
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

// keepSlots keeps slots for exclusive tasks. For each class, it takes enough workers to have a slot for each
// exclusive task, but half of those that could run them at most, and gives these nothing beyond their slots.
// Otherwise, tasks fetched in advance would take each slot before it is free, for as long as there
// are any. It takes the least loaded workers, which are the same again in the next plan.
func (p *planner) keepSlots(queues []*queue) {
	var kept []*worker
	for _, q := range queues {
		for _, id := range q.classes {
			if c := &p.classes[id]; c.exclusive {
				kept = append(kept, leastLoadedHalf(p.among(q, id).workers, c.jobs)...)
			}
		}
	}
	for _, w := range kept {
		w.limit = min(w.limit, w.Slots)
	}
}

// leastLoadedHalf returns the workers with the lowest share of their slots taken, with as many slots
// as were asked for, up to half of the workers.
func leastLoadedHalf(of []*worker, slots int) []*worker {
	of = slices.Clone(of)
	slices.SortStableFunc(of, func(a, b *worker) int {
		return cmp.Compare(uint64(a.load)*uint64(b.Slots), uint64(b.load)*uint64(a.Slots))
	})
	n := 0
	for ; n < (len(of)+1)/2 && slots > 0; n++ {
		slots -= int(of[n].Slots)
	}
	return of[:n]
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

// give assigns one chunk of j, which is the first of q, to w.
func (p *planner) give(q *queue, j *fsm.JobView, w *worker) {
	r := j.Ranges[0]
	n := min(r.Count-q.given, j.Budget, w.room(j.Exclusive), max(p.classes[j.Class].chunk, p.worth(j, w)), maxPlanTasks-p.tasks)
	p.assigns = append(p.assigns, &logpb.Assign{Job: j.ID, First: r.First + q.given, Count: n, Session: w.ID})
	p.tasks += n
	w.load += n
	j.Budget -= n
	if q.given += n; q.given == r.Count {
		j.Ranges, q.given = j.Ranges[1:], 0 // the job is a copy, its ranges are the view's
	}
}
