package fsm

import (
	"math"
	"slices"

	"github.com/rota-scheduler/rota/task"
)

// Bounds of a view. What it costs must not grow with what waits, and it must have enough for the
// largest plan.
const (
	maxViewClasses = math.MaxUint8 + 1
	// maxViewRanges is how many ranges of tasks are shown, of all classes together; each job has
	// one at least.
	maxViewRanges = 16384
	// Of each class 2,048 ranges are shown, or fewer where that would leave no room for others:
	// 64, which is what each of the most classes has room for.
	mostClassRanges, leastClassRanges = 2048, maxViewRanges / maxViewClasses
	// maxViewTasks is the most tasks that a plan can have. To show more of a class than that, or than its
	// workers have room for, would be of no use.
	maxViewTasks = 16384
	// maxPassed is how many pools without room are passed over in search of one with.
	maxPassed = 16384
)

// Away is the room of a session that is not connected, or takes nothing now: it gets nothing.
const Away = -1

// View is what the scheduler sees: a part of the tasks that can be granted, and the workers that could take them. Nothing
// in it changes when the machine does.
type View struct {
	// Now is the time it holds at, Unix ns of the state machine's clock: that of the last Advance.
	Now int64
	// From is the turn that it begins with; 0: that of the first queue.
	From uint64
	// Queues is those that have something for which there is room, in order of their turns: first the one
	// that was served least recently.
	Queues []QueueView
	// Classes is those that the jobs shown belong to.
	Classes []ClassView
	// Sessions is those that are connected, in order of their ids.
	Sessions []SessionView
	// Next is the turn with which the next view should begin to see what stands behind this one;
	// 0: nothing does.
	Next uint64
}

// QueueView is jobs of a queue in the order in which they should be granted. None that is not
// shown comes before one that is, where both could use the same room; but see ClassView.More.
type QueueView struct {
	Name string
	Turn uint64
	Jobs []JobView
}

// ClassView is jobs of a queue that can run in the same places.
type ClassView struct {
	// Accepting is the abilities of sessions that can run it.
	Accepting Set
	// More says that jobs of the class are not shown though there is room for them.
	More bool
}

// JobView is a job with tasks that can be granted now.
type JobView struct {
	ID uint64
	// Budget is how many of the tasks may be granted.
	Budget uint32
	// Class is its place in View.Classes.
	Class     uint8
	Policy    task.Policy
	Exclusive bool
	// Light says that its tasks take next to nothing of the memory of who holds them: they
	// have no payloads of their own, and what they share is small.
	Light bool
	// Ranges is the tasks, in the order in which they should be granted.
	Ranges []task.Range
}

// SessionView is a worker that can be given tasks.
type SessionView struct {
	ID       uint64
	Slots    uint32
	Assigned uint32
	// Able is what it can run, as in ClassView.Accepting.
	Able int
	// Extra is how many tasks it may hold beyond its slots, or Away.
	Extra int32
}

// room is how many more tasks it may hold.
func (s *SessionView) room() uint32 {
	most := s.Slots + uint32(s.Extra)
	return most - min(most, s.Assigned)
}

// View returns a bounded view at the time of the last Advance, of queues from a turn on. extra says of all sessions,
// in order of their ids, how many tasks each may hold beyond its slots, or that it is not connected: no log knows. It
// is called with the machine locked for reading. A view changes nothing. It ends at a queue that Advance has yet to
// see to.
func (m *Machine) View(from uint64, extra func([]SessionView)) *View {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.view(from, extra)
}

// AdvanceAndView is Advance and the View behind it, for the leader. No entry comes between the two, which would leave
// queues for another Advance to see to, and they wait only once for entries that are being applied.
func (m *Machine) AdvanceAndView(now int64, from uint64, extra func([]SessionView)) (v *View, behind bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	behind = m.advance(now, from)
	return m.view(from, extra), behind
}

func (m *Machine) view(from uint64, extra func([]SessionView)) *View {
	v := &viewer{m: m, View: View{Now: m.advanced, From: from}}
	v.sessions(extra)
	if !v.anyRoom {
		return &v.View // for nothing
	}
	v.passed = maxPassed
	m.ready.Ascend(from, v.add)
	return &v.View
}

// viewer makes a view.
type viewer struct {
	View
	m *Machine
	// open is a bit map of the abilities of which some session has room; anyRoom says that there are any. rooms is, by
	// abilities, how much room there is.
	open    []uint64
	anyRoom bool
	rooms   []room
	// ranges counts those that are shown, passed how many more pools may be passed over.
	ranges, passed int
	// spare is where ranges are put next, those of many jobs in one piece.
	spare []task.Range
}

// room is how many more tasks some sessions may hold, and how many slots they have.
type room struct{ tasks, slots uint64 }

// sessions adds the sessions that are connected. There may be thousands, and a leader that is
// busy takes a hundred views a second.
func (v *viewer) sessions(extra func([]SessionView)) {
	all := make([]SessionView, 0, len(v.m.sessions))
	v.m.sessionOrder.Scan(func(id uint64, s *session) bool {
		all = append(all, SessionView{ID: id, Slots: s.slots, Assigned: s.assigned, Able: s.able.at})
		return true
	})
	extra(all)
	v.Sessions = slices.DeleteFunc(all, func(s SessionView) bool { return s.Extra == Away })
	v.rooms, v.open = make([]room, len(v.m.able)), make([]uint64, len(v.m.able)/64+1)
	for i := range v.Sessions {
		if s := &v.Sessions[i]; s.room() > 0 {
			v.anyRoom = true
			v.open[s.Able/64] |= 1 << (s.Able % 64)
			r := &v.rooms[s.Able]
			r.tasks, r.slots = r.tasks+uint64(s.room()), r.slots+uint64(s.Slots)
		}
	}
}

// room returns how many tasks of a pool there is room for, as far as more makes a difference.
// Exclusive ones count by slot, free or not: one that waits for a slot keeps others from taking
// its place.
func (v *viewer) room(p *pool) int {
	if p.exclusive && v.m.settling(v.Now) {
		return 0
	}
	sum := uint64(0)
	p.accepting.each(v.open, func(able int) bool {
		if p.exclusive {
			sum += v.rooms[able].slots
		} else {
			sum += v.rooms[able].tasks
		}
		return sum < maxViewTasks
	})
	return int(min(sum, maxViewTasks))
}

// endOfLine is behind every place that a job can have.
var endOfLine = place{priority: math.MinInt32, job: &job{id: math.MaxUint64}}

// add shows what a queue has, and says whether the view has room for another queue.
func (v *viewer) add(turn uint64, q *queue) bool {
	if v.ranges >= maxViewRanges || len(v.Classes) == maxViewClasses || v.passed <= 0 || !q.current(v.m.fleet) {
		v.Next = turn
		return false
	}
	lines, behind := v.lines(q, maxViewClasses-len(v.Classes))
	switch {
	case len(lines) == 0:
		return true
	case behind != endOfLine && len(v.Queues) > 0:
		v.Next = turn
		return false
	}
	for _, l := range lines {
		l.left = min(max((maxViewRanges-v.ranges)/len(lines), leastClassRanges), mostClassRanges)
	}
	v.Queues = append(v.Queues, QueueView{Name: q.name, Turn: turn, Jobs: v.merge(lines, behind)})
	return true
}

// lines returns the classes of a queue for which there is room, in order of their heads, up to so many of
// them. Where there are more, what is behind the head of the next one must not be shown either.
func (v *viewer) lines(q *queue, most int) (lines heads[*line], behind place) {
	var pools heads[*walk]
	for _, p := range q.pools.list {
		if room := v.room(p); room > 0 {
			w := &walk{pool: p, room: room}
			w.class, _ = p.line.Min()
			pools = append(pools, w)
		} else {
			v.passed--
		}
	}
	for pools.order(); len(pools) > 0; {
		w := pools[0]
		if len(lines) == most {
			return lines, w.class.head
		}
		l := &line{c: w.class, head: w.class.head, at: -1, room: w.room}
		l.next.Init(l.c.line, false)
		l.next.First()
		lines = append(lines, l)
		if w.next() {
			pools.sink(0)
		} else {
			pools.pop()
		}
	}
	return lines, endOfLine
}

// merge takes the jobs of lines, which are in order of their heads, in the order of all of them,
// up to those behind a place.
func (v *viewer) merge(lines heads[*line], behind place) []JobView {
	most := 0
	for _, l := range lines {
		most += min(l.c.line.Len(), l.left, l.room)
	}
	jobs := make([]JobView, 0, most)
	for len(lines) > 0 && lines[0].head.before(behind) {
		l := lines[0]
		if l.at < 0 {
			l.at = len(v.Classes)
			v.Classes = append(v.Classes, ClassView{Accepting: l.c.pool.accepting})
		}
		jv, more := v.job(l.head.job, l.left)
		jv.Class = uint8(l.at)
		jobs = append(jobs, jv)
		v.ranges, l.left, l.room = v.ranges+len(jv.Ranges), l.left-len(jv.Ranges), l.room-int(jv.Budget)
		goesOn := l.next.Next()
		switch {
		case !goesOn && !more, l.room <= 0:
			lines.pop()
		case l.left <= 0 || more:
			v.Classes[l.at].More = !l.c.needs.exclusive
			lines.pop()
		default:
			l.head = l.next.Item()
			lines.sink(0)
		}
	}
	return jobs
}

// maxLightSpec is how large the spec of a job may be, payload and all, whose tasks are light, bytes.
const maxLightSpec = 1024

// job shows a job, with so many ranges at most. more says that it has more of them.
func (v *viewer) job(j *job, ranges int) (jv JobView, more bool) {
	left := j.available()
	from := len(v.spare)
	show := func(r task.Range) bool {
		n := min(r.Count, left)
		if n == 0 || len(v.spare)-from == ranges {
			more = n > 0
			return false
		}
		v.spare = append(v.spare, task.Range{First: r.First, Count: n})
		left -= n
		return true
	}
	budget := left
	all := true
	if j.returned != nil {
		for r := range j.returned.All() {
			if all = show(r); !all {
				break
			}
		}
	}
	if all {
		for r := range j.ahead() {
			if !show(r) {
				break
			}
		}
	}
	return JobView{
		ID: j.id, Budget: budget - left, Policy: j.spec.Policy, Exclusive: j.spec.Exclusive(),
		Light: !j.ownPayloads && j.spec.size <= maxLightSpec, Ranges: v.spare[from:len(v.spare):len(v.spare)],
	}, more
}
