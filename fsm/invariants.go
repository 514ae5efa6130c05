package fsm

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/task"
)

// CheckInvariants returns what is wrong with the state in memory: nothing, unless
// there is a fault in this package. It looks at everything that is live, and may
// be called on a running server.
func (m *Machine) CheckInvariants() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	c := &checker{m: m, held: map[uint64]map[pageRef]uint32{}, tokens: map[uint64]string{}}
	for _, id := range sortedKeys(m.jobs) {
		c.job(m.jobs[id])
	}
	for _, id := range sortedKeys(m.sessions) {
		c.session(m.sessions[id])
	}
	c.sharing()
	if m.jobOrder.Len() != len(m.jobs) {
		c.failf("%d jobs in order, %d jobs", m.jobOrder.Len(), len(m.jobs))
	}
	c.specs()
	for _, err := range []error{checkServers(m.servers), checkRemoved(m.removed)} {
		if err != nil {
			c.failf("%v", err)
		}
	}
	for _, s := range m.servers {
		if m.wasRemoved(s.NodeId, s.ServerId) {
			c.failf("server %s with the id %s is recorded, and was removed", s.NodeId, s.ServerId)
		}
	}
	alive, waiting := 0, map[string][task.NumStates]uint64{}
	for _, j := range m.jobs {
		if j.final() {
			continue
		}
		alive++
		tasks := waiting[j.spec.Queue]
		for s := task.Blocked; s <= task.Stopping; s++ {
			tasks[s] += uint64(j.counts[s])
		}
		waiting[j.spec.Queue] = tasks
	}
	for _, name := range sortedKeys(m.queues) {
		if q := m.queues[name]; q.tasks != waiting[name] {
			c.failf("queue %s counts tasks %v, has %v", name, q.tasks, waiting[name])
		}
	}
	if alive != m.liveJobs {
		c.failf("%d live jobs counted, %d found", m.liveJobs, alive)
	}
	if c.live != m.outstandingLive {
		c.failf("%d live tasks counted, %d found", m.outstandingLive, c.live)
	}
	return c.wrong
}

type checker struct {
	m      *Machine
	wrong  []string
	held   map[uint64]map[pageRef]uint32 // session -> page -> tasks
	tokens map[uint64]string             // of held tasks
	live   uint64
}

func (c *checker) failf(format string, args ...any) {
	const most = 20 // the first few say it all
	if len(c.wrong) < most {
		c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
	}
}

func (c *checker) job(j *job) {
	var seen task.Counts
	sum := uint64(0)
	live, done, retrying := uint32(0), uint32(0), uint32(0)
	serialHeld := 0
	for n := range j.pageCount() {
		p, lo := j.page(n), n*pageSize
		size := min(pageSize, j.total-lo)
		// Whole pages at once: a job of a million tasks may have nothing else.
		switch {
		case p == donePage:
			done += size
			continue
		case p == nil && j.untouchedPage(n):
			seen[j.base] += size
			if j.cancelReason != 0 && !j.sweepsOver(lo) {
				c.failf("job %d was cancelled, its page %d is untouched", j.id, n)
			}
			continue
		case p != nil && p.alike != nil:
			seen[p.alike.state] += size
			if p.final != int(size) || !p.alike.state.Final() {
				c.failf("job %d: page %d counts %d final tasks of %d, all %v", j.id, n, p.final, size, p.alike.state)
			}
			continue
		}
		final := 0
		for k := range size {
			i := lo + k
			s, _ := j.slot(i)
			state := j.stateOf(s)
			seen[state]++
			switch {
			case s == nil || s.state == 0:
				if !j.beyond(i) {
					c.failf("task %d.%d is untouched below the frontier of its run", j.id, i)
				}
				continue
			case state.Final():
				final++
				continue
			}
			live++
			if s.triedAgain() {
				retrying++
			}
			sum += s.hash(i)
			c.liveTask(j, i, s)
			if state.Held() {
				serialHeld++
			}
		}
		if p != nil && p.final != final {
			c.failf("job %d: page %d counts %d final tasks, has %d", j.id, n, p.final, final)
		}
	}
	c.live += uint64(live)
	c.runs(j)
	if j.touched {
		c.failf("job %d was touched and not settled", j.id)
	}
	// The hash of an outcome is not kept, so this can be told before there is any only.
	if j.received == 0 && sum != j.sum {
		c.failf("job %d has the digest %x of its tasks, they have %x", j.id, j.sum, sum)
	}
	for _, s := range j.segments {
		if s.first+s.count > j.received {
			c.failf("job %d: segment of cursors %d+%d behind the last, %d", j.id, s.first, s.count, j.received)
		}
	}
	for _, state := range []task.State{task.Blocked, task.Scheduled, task.Pending, task.Assigned, task.Stopping} {
		if seen[state] != j.counts[state] {
			c.failf("job %d counts %d tasks %v, has %d", j.id, j.counts[state], state, seen[state])
		}
	}
	if got := seen.Final() + done; got != j.counts.Final() || got != j.received {
		c.failf("job %d counts %d outcomes, gave %d cursors, has %d", j.id, j.counts.Final(), j.received, got)
	}
	if live != j.live {
		c.failf("job %d counts %d live tasks, has %d", j.id, j.live, live)
	}
	if retrying != j.retrying {
		c.failf("job %d counts %d tasks that are tried again, has %d", j.id, j.retrying, retrying)
	}
	if j.sweep > j.pageCount() || j.sweep != 0 && j.final() {
		c.failf("job %d is swept from page %d of %d on, final is %v", j.id, j.sweep, j.pageCount(), j.final())
	}
	if j.spec.Serial && serialHeld > 1 {
		c.failf("serial job %d has %d tasks under way", j.id, serialHeld)
	}
	if limit := j.spec.MaxParallel; limit > 0 && j.counts.Held() > limit {
		c.failf("job %d has %d tasks under way, limit %d", j.id, j.counts.Held(), limit)
	}
	if ready := !j.final() && j.available() > 0; ready != j.inReady {
		c.failf("job %d: ready is %v, in line is %v", j.id, ready, j.inReady)
	}
}

// runs checks where the runs of tasks begin, and that the frontier of each is at its end or at an untouched task.
func (c *checker) runs(j *job) {
	first := uint32(0)
	check := func(next, end uint32) {
		if first > next || next > end || end > j.total {
			c.failf("job %d: tasks %d to %d of %d are a run, its frontier is %d", j.id, first, end, j.total, next)
			return
		}
		if next == end {
			return
		}
		if s, done := j.slot(next); done || s != nil && s.state != 0 {
			c.failf("job %d: the frontier of the run from %d on, %d, is a task that was touched", j.id, first, next)
		}
	}
	next := j.next
	for _, r := range j.moreRuns() {
		check(next, r.first)
		first, next = r.first, r.next
	}
	check(next, j.total)
}

// untouchedPage says whether all tasks of a page lie beyond the frontiers of their runs.
func (j *job) untouchedPage(n uint32) bool {
	lo := n * pageSize
	for i, end := lo, lo+uint32(j.pageTasks(n)); i < end; {
		next, behind := j.frontier(i)
		if i < *next {
			return false
		}
		i = behind
	}
	return true
}

func (c *checker) liveTask(j *job, i uint32, s *slot) {
	name := fmt.Sprintf("%d.%d", j.id, i)
	if s.token >= c.m.nextToken {
		c.failf("task %s has token %d, the next one is %d", name, s.token, c.m.nextToken)
	}
	switch {
	case s.state.Held():
		if other, twice := c.tokens[s.token]; twice {
			c.failf("token %d is held by %s and %s", s.token, other, name)
		}
		c.tokens[s.token] = name
		if c.held[s.session] == nil {
			c.held[s.session] = map[pageRef]uint32{}
		}
		c.held[s.session][pageRef{j.id, i / pageSize}]++
		if s.state == task.Assigned && j.cancelReason != 0 && !j.sweepsOver(i) {
			c.failf("task %s runs on, its job was cancelled", name)
		}
		if c.m.sessions[s.session] == nil {
			c.failf("task %s is held by session %d, which is not open", name, s.session)
		}
	case s.session != 0:
		c.failf("task %s is %v but names session %d", name, s.state, s.session)
	case j.sweepsOver(i): // it stands in no line any more
	case j.cancelReason != 0:
		c.failf("task %s is %v, its job was cancelled", name, s.state)
	case s.state == task.Pending && !j.hasBack(i):
		c.failf("task %s is pending but not in line", name)
	case s.state == task.Scheduled && !j.hasBack(i):
		if _, waits := c.m.timers.Get(timer{at: s.at, job: j.id, index: i, kind: retryTimer}); !waits {
			c.failf("task %s waits for no timer", name)
		}
	}
}

// specs checks that each spec is shared by as many jobs as it counts, and each class
// by as many specs.
func (c *checker) specs() {
	jobs, specs := map[*spec]int{}, map[*class]int{}
	for _, j := range c.m.jobs {
		jobs[j.spec]++
	}
	for id, s := range c.m.specs {
		if s.refs != jobs[s] || s.refs == 0 || id != s.id {
			c.failf("a spec counts %d jobs, has %d", s.refs, jobs[s])
		}
		if len(s.raw) != s.size && !(s.raw == nil && s.apart()) {
			c.failf("a spec of %d bytes has %d", s.size, len(s.raw))
		}
		delete(jobs, s)
		specs[s.class]++
	}
	if len(jobs) > 0 {
		c.failf("%d specs of jobs are not among the specs", len(jobs))
	}
	inQueue, ready := map[*queue]int{}, 0
	for key, cl := range c.m.classes {
		if cl.specs != specs[cl] || key != cl.key {
			c.failf("a class counts %d specs, has %d", cl.specs, specs[cl])
		}
		if q := c.m.queues[cl.needs.queue]; q != cl.queue {
			c.failf("a class stands in another queue than %s", cl.needs.queue)
		}
		inQueue[cl.queue]++
		if cl.line.Len() == 0 {
			continue
		}
		ready++
		if q := cl.queue; cl.place >= len(q.ready) || q.ready[cl.place] != cl {
			c.failf("a class of queue %s has jobs in line and is not among those that have", q.name)
		}
	}
	if len(specs) != len(c.m.classes) {
		c.failf("%d classes, %d of specs", len(c.m.classes), len(specs))
	}
	turns := map[uint64]string{}
	for name, q := range c.m.queues {
		if other, taken := turns[q.turn]; taken || q.turn == 0 || q.turn > c.m.turns {
			c.failf("queue %s has turn %d of %d, as queue %s has", name, q.turn, c.m.turns, other)
		}
		turns[q.turn] = name
		if q.name != name || q.classes != inQueue[q] || q.classes == 0 {
			c.failf("queue %s counts %d classes, has %d", name, q.classes, inQueue[q])
		}
		ready -= len(q.ready)
		c.pools(q)
		if got, in := c.m.ready.Get(q.turn); in != (len(q.ready) > 0) || in && got != q {
			c.failf("queue %s has %d classes with jobs in line, is in line itself: %v", name, len(q.ready), in)
		}
	}
	if ready != 0 {
		c.failf("%d classes with jobs in line are not in their queues", ready)
	}
}

// pools checks the pools of a queue, as far as they were seen to.
func (c *checker) pools(q *queue) {
	in := 0
	for at, p := range q.pools.list {
		if p.place != at || q.pools.byKey[p.key] != p || p.line.Len() == 0 {
			c.failf("queue %s: a pool of %d classes is not in its place", q.name, p.line.Len())
		}
		in += p.line.Len()
	}
	if len(q.pools.byKey) != len(q.pools.list) {
		c.failf("queue %s has %d pools in line, %d by key", q.name, len(q.pools.list), len(q.pools.byKey))
	}
	if _, noted := c.m.outdated.Get(q.turn); len(q.ready) > 0 && c.m.grouped == c.m.fleet && !noted && !q.current(c.m.fleet) {
		c.failf("queue %s is out of date and not noted as such", q.name)
	}
	for at, cl := range q.ready {
		if at < q.outdated && cl.pool == nil {
			continue
		}
		in--
		if got, stands := cl.pool.line.Get(cl); !stands || got != cl || cl.pool.exclusive != cl.needs.exclusive {
			c.failf("class %q does not stand in its pool", cl.key)
		}
		if head, _ := cl.line.Min(); at >= q.outdated && head != cl.head {
			c.failf("class %q stands at the place of job %d, its first is job %d", cl.key, cl.head.job.id, head.job.id)
		}
		c.accepted(q, cl)
	}
	if in != 0 {
		c.failf("queue %s has %d classes too many in its pools", q.name, in)
	}
}

// accepted checks who accepts a class, as its pool knows it, if that is of this fleet, and as it is found out.
func (c *checker) accepted(q *queue, cl *class) {
	accepting := c.m.accepting(&cl.needs)
	found := accepting.appendTo(nil)
	for _, a := range c.m.abilities {
		want := a.accept(&cl.needs)
		if q.pools.fleet == c.m.fleet && cl.pool.accepting.Has(a.at) != want || found.Has(a.at) != want {
			c.failf("class %q: abilities %d accept it: %v, known as %v", cl.key, a.at, want, !want)
		}
	}
}

// sharing checks what is derived from the sessions.
func (c *checker) sharing() {
	m := c.m
	bytes := 0
	for _, s := range m.sessions {
		bytes += proto.Size(s.pb)
	}
	if bytes != m.sessionBytes {
		c.failf("sessions take %d bytes, counted are %d", bytes, m.sessionBytes)
	}
	if m.sessionOrder.Len() != len(m.sessions) {
		c.failf("%d sessions in order, %d sessions", m.sessionOrder.Len(), len(m.sessions))
	}
	m.sessionOrder.Scan(func(id uint64, s *session) bool {
		if m.sessions[id] != s {
			c.failf("session %d in order is another one", id)
		}
		return true
	})
	share := map[*abilities]int{}
	for _, s := range m.sessions {
		share[s.able]++
		if a := s.able; s.member >= len(a.members) || a.members[s.member] != s || (s.member < a.idle) != (s.assigned < s.slots) {
			c.failf("session %d is not in its place among those that are like it", s.pb.Id)
		}
	}
	places := 0
	for at, a := range m.able {
		if a != nil && (a.at != at || m.abilities[a.key] != a) {
			c.failf("abilities %q are not in their place", a.key)
		}
		if a != nil {
			places++
		}
	}
	if len(share) != len(m.abilities) || len(share) != places || len(m.ableFree)+places != len(m.able) {
		c.failf("%d abilities in %d places of %d, %d free, sessions have %d", len(m.abilities), places, len(m.able), len(m.ableFree), len(share))
	}
	offers := map[offer]int{}
	for _, a := range m.abilities {
		a.offers(func(o offer) {
			if offers[o]++; !m.offering[o].Has(a.at) {
				c.failf("abilities %q are not among those that offer %v", a.key, o)
			}
		})
	}
	for o, of := range m.offering {
		if n := of.count(); n != offers[o] || n == 0 {
			c.failf("%d abilities offer %v, counted are %d", offers[o], o, n)
		}
	}
	for key, a := range m.abilities {
		if share[a] != len(a.members) || share[a] != a.sessions {
			c.failf("%q is shared by %d sessions, has %d and counts %d", key, share[a], len(a.members), a.sessions)
		}
	}
}

func (c *checker) session(s *session) {
	sum := uint32(0)
	for at, n := range s.held {
		sum += *n
		if got := c.held[s.pb.Id][at]; got != *n {
			c.failf("session %d counts %d tasks on page %d of job %d, holds %d", s.pb.Id, *n, at.page, at.job, got)
		}
	}
	if sum != s.assigned {
		c.failf("session %d counts %d tasks, holds %d", s.pb.Id, s.assigned, sum)
	}
	if most := s.pb.Slots + c.m.rules.MaxOutstanding; s.assigned > most {
		c.failf("session %d holds %d tasks, limit %d", s.pb.Id, s.assigned, most)
	}
	if current, _ := c.m.byWorker.Get(s.pb.Worker); current != s {
		c.failf("session %d is not the one of its worker %s", s.pb.Id, s.pb.Worker)
	}
}
