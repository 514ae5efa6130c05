package deterministic

import (
	"errors"
	"math"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/scheduler"
	"github.com/rota-scheduler/rota/task"
)

const (
	// idleLook is the wait of an allocation loop that knows of no timer.
	idleLook = time.Second
	// retryPause is its wait after a plan that was refused as a whole, or failed.
	retryPause = 20 * time.Millisecond
	// leaseLook is how often to check for leases that have ended.
	leaseLook = lease / 20
	// retentionLook is how often to check what may be forgotten.
	retentionLook = time.Second
	collectBatch  = 16
	// soon is how late the allocation loop may be at a timer: it never sleeps for less.
	soon = time.Millisecond
)

// looks is the state of a leader's loops.
type looks struct {
	allocator scheduler.Allocator
	// asleep: the allocation loop waits to be woken, or for its timer. naps counts
	// its sleeps: an alarm of an earlier one rings for nobody.
	asleep bool
	naps   int
	// slept and stamped are when it fell asleep, on the true and on the leader's clock.
	slept   time.Duration
	stamped int64
	// alarm is until when it sleeps at most, on the leader's clock.
	alarm int64
	// checked is the index up to which it was checked that nothing should have woken it.
	checked uint64
	// blind: it sleeps for idleLook, for no timer and nobody's work. What it finds then
	// should have woken it, unless the run times of reports that are not committed, or never
	// were, have made workers take more.
	blind, stirred bool
	unsettled      int
	// waits is, by queue, how it waits to be served.
	waits map[string]wait

	lastLease time.Duration
	overdue   scheduler.Backstop
}

// begin starts the loops.
func (t *tenure) begin() {
	t.w.after(0, func() { t.allocate(false) })
	t.looks.lastLease = t.w.now
	t.w.after(leaseLook, t.expireLeases)
	t.w.after(t.w.between(0, retentionLook), t.retain)
	t.w.after(task.ReportMargin, t.reclaim)
}

// overdueLook is how often to check for tasks about which their workers are silent.
const overdueLook = time.Second / 2

// reclaim checks for them.
func (t *tenure) reclaim() {
	if t.ended {
		return
	}
	t.fleet.Rouse()
	ops, shunned, absolved := t.looks.overdue.Look(t.r.m, t.fleet, t.r.stamp())
	for _, id := range shunned {
		t.w.tracef("session %d is shunned", id)
		t.w.counts.Shunned++
	}
	for _, id := range absolved {
		t.w.tracef("session %d is not shunned any more", id)
		t.w.counts.Absolved++
	}
	for _, op := range ops {
		t.propose(op, func(r fsm.Result, _ error) { t.w.counts.Overdue += int(r.Total) })
	}
	t.w.after(overdueLook, t.reclaim)
}

// woken makes the allocation loop look if it was woken.
func (t *tenure) woken() {
	if t.looks.asleep && t.fleet.Woken() {
		t.looks.asleep = false
		t.w.after(0, func() { t.allocate(false) })
	}
	if index := t.r.m.AppliedIndex(); index != t.looks.checked && t.looks.asleep && !t.deposed {
		t.looks.checked = index
		t.checkAsleep()
	}
}

// checkAsleep checks that the loop had no reason to wake up, if an entry has not woken it.
func (t *tenure) checkAsleep() {
	l := &t.looks
	if _, next := t.r.m.Due(l.stamped, 1); next != 0 && next+int64(soon) < l.alarm {
		t.w.problem("term %d: the allocation loop sleeps until %d, though a timer is due at %d", t.term, l.alarm, next)
	}
	if l.stirred || l.unsettled > 0 || t.w.counts.Entries%4 != 0 {
		return // not each time: to look changes what a machine knows of its timers
	}
	var fresh scheduler.Allocator
	if plan, _ := fresh.Plan(t.r.m, t.fleet, l.stamped); plan != nil {
		t.w.problem("term %d: the allocation loop sleeps, and nobody wakes it for %v", t.term, plan)
	}
}

// allocate is a round of the allocation loop. overslept says that nothing has woken it.
func (t *tenure) allocate(overslept bool) {
	if t.ended {
		return
	}
	now := t.r.stamp()
	expire, next := t.looks.allocator.Expire(t.r.m, now)
	if expire != nil {
		t.found(overslept, expire, now)
		t.propose(expire, func(_ fsm.Result, err error) {
			if err != nil {
				t.w.after(retryPause, func() { t.allocate(false) })
				return
			}
			t.plan(false, now, next)
		})
		return
	}
	t.plan(overslept, now, next)
}

func (t *tenure) plan(overslept bool, now, next int64) {
	if t.ended {
		return
	}
	plan, idle := t.looks.allocator.Plan(t.r.m, t.fleet, now)
	switch {
	case plan != nil:
		t.found(overslept, plan, now)
		applied := t.checkPlan(plan.GetApplyPlan(), now)
		t.propose(plan, func(r fsm.Result, err error) {
			pause := time.Duration(0)
			if err == nil {
				applied(r)
			}
			if err != nil || r.Granted == 0 {
				pause = retryPause
			}
			t.w.after(pause, func() { t.allocate(false) })
		})
	case idle:
		t.w.counts.Idle++
		if !t.deposed {
			t.w.checkIdle(t, now)
		}
		t.sleep(now, next)
	default:
		t.w.after(0, func() { t.allocate(false) })
	}
}

func (t *tenure) sleep(now, next int64) {
	d := scheduler.IdleFor(now, next)
	l := &t.looks
	l.asleep, l.slept, l.stamped, l.stirred, l.blind = true, t.w.now, now, false, d == idleLook
	l.alarm = now + int64(d)
	l.naps++
	nap := l.naps
	t.w.after(d, func() {
		if l.asleep && l.naps == nap {
			l.asleep = false
			t.allocate(true)
		}
	})
}

// found is called when the loop has found work. It is a fault if nobody woke the loop for it: nothing may depend on
// the look that the loop takes now and then.
func (t *tenure) found(overslept bool, op *logpb.Op, now int64) {
	l := &t.looks
	jumped := now-l.stamped > int64(t.w.now-l.slept) // an entry has brought another clock
	if overslept && l.blind && !l.stirred && l.unsettled == 0 && !jumped && !t.deposed {
		t.w.problem("term %d: nobody woke the allocation loop for %v", t.term, op)
	}
}

// expireLeases looks for sessions whose lease has ended.
func (t *tenure) expireLeases() {
	if t.ended {
		return
	}
	expired, stoodStill := t.fleet.Lapsed(t.r.m.Sessions, t.w.now-t.looks.lastLease)
	if stoodStill {
		t.w.tracef("%s stood still", t.r.name)
	}
	t.looks.lastLease = t.w.now
	left := len(expired)
	d := leaseLook
	if t.w.nature.stalls && !t.w.healed && t.w.chance(1) {
		d = t.w.between(lease/2, lease)
	}
	again := func() { t.w.after(d, t.expireLeases) }
	if left == 0 {
		again()
		return
	}
	for _, id := range expired {
		if !t.fleet.Close(id) {
			left--
			continue
		}
		t.w.tracef("the lease of session %d has ended", id)
		t.w.counts.Closed++
		t.propose(closeOp(id, false), func(_ fsm.Result, err error) {
			if err != nil && !errors.Is(err, task.ErrUnknownOutcome) {
				t.fleet.Keep(id)
			}
			if left--; left == 0 {
				again()
			}
		})
	}
	if left == 0 {
		again()
	}
}

func closeOp(session uint64, graceful bool) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: session, Graceful: graceful}}}
}

// retain forgets what is over. A leader that is short of room forgets more.
func (t *tenure) retain() {
	if t.ended {
		return
	}
	overBudget := t.w.chance(5)
	op := &logpb.Collect{OverBudget: overBudget}
	op.Jobs, op.Keys = t.r.due(t.r.stamp(), overBudget)
	again := func() { t.w.after(retentionLook, t.retain) }
	if len(op.Jobs)+len(op.Keys) == 0 {
		again()
		return
	}
	t.propose(&logpb.Op{Op: &logpb.Op_Collect{Collect: op}}, func(r fsm.Result, err error) {
		t.w.counts.Collected += int(r.Total)
		again()
	})
}

// due returns what may be forgotten at a time, of what the disk has.
func (r *replica) due(at int64, overBudget bool) (jobs []uint64, keys []*logpb.KeyRef) {
	if overBudget {
		at = math.MaxInt64
	}
	for _, id := range sorted(r.disk.jobs) {
		rec := r.disk.jobs[id].record
		if len(jobs) < collectBatch && rec.FinishedNs != 0 && fsm.Due(rec) <= at && !r.m.Collected(id) {
			jobs = append(jobs, id)
		}
	}
	if overBudget {
		return jobs, nil
	}
	for _, id := range sorted(r.disk.keys) {
		queue, key := splitKey(id)
		if k := r.disk.keys[id]; len(keys) < collectBatch && k.ExpiresNs != 0 && k.ExpiresNs <= at && !r.m.KeyCollected(queue, key) {
			keys = append(keys, &logpb.KeyRef{Queue: queue, Key: key})
		}
	}
	return jobs, keys
}

// checkIdle checks, when the allocation loop has found nothing to do, that there is nothing: no task that could be
// granted and a worker with a free slot that could take it.
func (w *world) checkIdle(t *tenure, now int64) {
	if w.counts.Idle%8 != 0 {
		return
	}
	free := map[uint64]bool{}
	for _, s := range t.r.m.Sessions() {
		status, known := t.fleet.Status(s.Id)
		free[s.Id] = known && status.Takes && len(w.model.Held(s.Id)) < int(s.Slots)
	}
	for _, j := range w.model.JobList() {
		if j.Finished != 0 {
			continue
		}
		c := j.Counts()
		waits := j.Open || c.Final()+c.Held() < j.Total()
		if waits && j.ExpireAt > 0 && j.ExpireAt <= now || j.Open && j.LastAppend+int64(task.OpenTimeout) <= now {
			w.problem("term %d: the allocation loop is idle, though job %d has expired", t.term, j.ID)
		}
		for i := range j.Tasks {
			if s := j.Tasks[i].State; s != task.Pending && s != task.Scheduled || !j.Grantable(uint32(i), now) {
				continue
			}
			for _, id := range sorted(w.model.Sessions) {
				if free[id] && w.model.Sessions[id].Accepts(j.Spec) {
					w.problem("term %d: the allocation loop is idle, though task %d.%d waits and session %d has a free slot", t.term, j.ID, i, id)
					return
				}
			}
			break
		}
	}
}
