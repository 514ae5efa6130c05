package deterministic

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/task"
)

// limits checks, on the replica that applies an entry first, that no grant of it goes beyond what may be held.
func (r *replica) limits(e *entry) {
	seen := map[uint64]bool{}
	for _, ev := range e.events {
		if ev.Kind != sim.GrantedEvent || seen[ev.Job] {
			continue
		}
		seen[ev.Job] = true
		rec, ok := r.m.Job(ev.Job)
		if !ok {
			continue // it was collected by the same entry
		}
		var counts task.Counts
		copy(counts[:], rec.Counts)
		ref, _ := r.m.SpecOf(ev.Job)
		spec := ref.Spec
		if held := counts.Held(); spec.Serial && held > 1 || spec.MaxParallel > 0 && held > spec.MaxParallel {
			r.w.problem("%s: entry %d: job %d holds %d tasks: serial %v, at most %d at once", r.name, e.index, ev.Job, held, spec.Serial, spec.MaxParallel)
		}
		sum := uint32(0)
		for _, n := range counts {
			sum += n
		}
		if sum != rec.Total {
			r.w.problem("%s: entry %d: job %d has %d tasks, and %d in all states", r.name, e.index, ev.Job, rec.Total, sum)
		}
		if s, ok := r.m.Session(ev.Session); ok {
			if alone := r.exclusives(s.Id); alone > s.Slots || s.Assigned > s.Slots+task.MaxOutstanding {
				r.w.problem("%s: entry %d: session %d with %d slots holds %d tasks, %d of them exclusive", r.name, e.index, s.Id, s.Slots, s.Assigned, alone)
			}
		}
	}
}

// exclusives counts the tasks of a session that must have a slot each.
func (r *replica) exclusives(session uint64) (n uint32) {
	held := map[uint64]uint32{}
	r.m.Held(session, func(h fsm.HeldTask) { held[h.Job] += h.Count })
	for job, count := range held {
		if ref, ok := r.m.SpecOf(job); ok && ref.Spec.Exclusive() {
			n += count
		}
	}
	return n
}

// check checks a machine against itself.
func (r *replica) check() {
	if wrong := r.m.CheckInvariants(); len(wrong) > 0 {
		r.w.problem("%s at %d: %s", r.name, r.m.AppliedIndex(), strings.Join(wrong, "; "))
	}
}

// lookAtAll checks all that can be read, now and then.
func (w *world) lookAtAll() {
	for _, r := range w.replicas {
		if r.m == nil {
			continue
		}
		r.check()
		if r.at == len(w.log) {
			r.compareAll()
		}
	}
	w.after(w.between(time.Second, 4*time.Second), w.lookAtAll)
}

// compareAll compares everything that a replica that has applied all holds with the model.
func (r *replica) compareAll() {
	_, _, clock := r.m.Applied()
	if clock != r.w.model.Clock {
		r.w.problem("%s has clock %d, the model %d", r.name, clock, r.w.model.Clock)
	}
	for _, j := range r.w.model.JobList() {
		r.compareJob(j)
	}
	r.compareView()
	r.compareServers()
	r.compareAccess()
	sessions := r.m.Sessions()
	if len(sessions) != len(r.w.model.Sessions) {
		r.w.problem("%s has %d sessions, the model %d", r.name, len(sessions), len(r.w.model.Sessions))
	}
	for _, s := range sessions {
		var got []sim.Event
		r.m.Held(s.Id, func(h fsm.HeldTask) {
			for i := h.First; i < h.First+h.Count; i++ {
				got = append(got, sim.Event{Session: s.Id, Job: h.Job, Index: i, Token: uint64(int64(i) + h.TokenOffset), Attempt: h.Attempt})
			}
		})
		if want := r.w.model.Held(s.Id); !slices.Equal(want, got) || int(s.Assigned) != len(want) {
			r.w.problem("%s: session %d holds %v (%d), the model says %v", r.name, s.Id, got, s.Assigned, want)
		}
	}
}

// compareView checks that a view shows what can be granted and nothing else, in order, to workers
// of whom some are away and some have room for more than they have slots.
func (r *replica) compareView() {
	now := r.stamp() // it may have looked at its timers by then
	v, _ := r.m.AdvanceAndView(now, 0, func(sessions []fsm.SessionView) {
		for i := range sessions {
			sessions[i].Extra = []int32{0, 3, fsm.Away, task.MaxOutstanding}[r.w.below(4)]
		}
	})
	for _, wrong := range r.w.model.CheckView(v) {
		r.w.problem("%s: a view: %s", r.name, wrong)
	}
}

func (r *replica) compareJob(j *sim.Job) {
	rec, live := r.m.Job(j.ID)
	if !live {
		var stored bool
		if rec, stored = r.disk.Job(j.ID); !stored || r.m.Collected(j.ID) || j.Finished == 0 {
			r.w.problem("%s has lost job %d", r.name, j.ID)
			return
		}
	}
	counts := j.Counts()
	if !slices.Equal(rec.Counts, counts[:]) || rec.Total != j.Total() || rec.Received != uint32(len(j.Outcomes)) || rec.FinishedNs != j.Finished ||
		rec.StartedNs != j.Started || rec.Open != j.Open || rec.Hold != j.Hold || rec.Frontier != j.Frontier() || rec.Reason != uint32(j.Reason) ||
		rec.Retrying != j.Retrying() || rec.CancelReason != uint32(j.CancelReason) || rec.Sweep != j.Sweep || rec.ExpireAtNs != j.ExpireAt || rec.NotBeforeNs != j.NotBefore {
		r.w.problem("%s: job %d is %v, the model says %v, %+v", r.name, j.ID, rec, counts, j)
	}
	r.compareAttempts(j)
	if !live {
		return
	}
	for i, want := range j.Tasks {
		got, known := r.m.Task(j.ID, uint32(i))
		if known && (got.State != want.State || got.Reason != want.Reason || got.Attempt != want.Attempt || got.Token != want.Token || got.Session != want.Session) {
			r.w.problem("%s: task %d.%d is %+v, the model says %+v", r.name, j.ID, i, got, want)
		}
		if !known && !want.State.Final() {
			r.w.problem("%s: task %d.%d is %v, and memory does not know", r.name, j.ID, i, want.State)
		}
	}
}

// compareAttempts compares the attempts that did not end their tasks: each is in memory or on disk, once.
func (r *replica) compareAttempts(j *sim.Job) {
	var stored []*logpb.Attempt
	if d := r.disk.jobs[j.ID]; d != nil {
		stored = d.attempts
	}
	for i, t := range j.Tasks {
		i := uint32(i)
		var got []sim.Attempt
		for _, a := range stored {
			if i >= a.First && i-a.First < a.Count {
				got = append(got, sim.AttemptOf(a, i))
			}
		}
		for _, a := range r.m.Attempts(j.ID, i) {
			if !slices.Contains(stored, a) { // it has not heard yet that it was written
				got = append(got, sim.AttemptOf(a, i))
			}
		}
		if !slices.Equal(got, t.Tried) {
			r.w.problem("%s: task %d.%d was tried as %+v, the model says %+v", r.name, j.ID, i, got, t.Tried)
		}
	}
}

// finish ends a run. It checks everything on every replica, once as it is and once as it comes back from its disk
// and the log. Then everything is forgotten.
func (w *world) finish() {
	w.checkPlace()
	for range 2 {
		for _, r := range w.replicas {
			if r.catchUp(); len(w.problems) > 0 {
				return
			}
			r.check()
			r.compareAll()
			for _, j := range w.model.JobList() {
				w.ledger.read(r, j.ID, true)
				if got := int(w.ledger.seen[j.ID]); got != len(j.Outcomes) {
					w.problem("%s: job %d shows %d results of %d", r.name, j.ID, got, len(j.Outcomes))
				}
			}
		}
		w.ledger.Settle(w.model)
		for _, r := range w.replicas {
			if r.tenure == nil {
				r.kill()
				r.start()
			}
		}
	}
	if len(w.problems) == 0 {
		w.forgetAll()
	}
	w.over = true
}

// checkPlace checks that, with everybody idle, tasks would find places at once: what was
// reserved for others is free again.
func (w *world) checkPlace() {
	const most = 16 // that are placed with a submit
	spec := &task.Spec{Handler: "work"}
	spec.SetDefaults()
	want := uint32(0)
	for _, wk := range w.workers {
		want += wk.slots
	}
	want = min(want, most)
	assigns, release := w.tenure.fleet.Place(w.tenure.r.m, spec, want)
	defer release()
	placed := uint32(0)
	for _, a := range assigns {
		placed += a.Count
	}
	if placed < want {
		w.problem("everybody is idle, and of %d tasks only %d find a place", want, placed)
	}
}

// forgetAll closes and collects everything: nothing may be left, in memory or on disk.
func (w *world) forgetAll() {
	var ops []*logpb.Op
	for _, id := range sorted(w.model.Sessions) {
		ops = append(ops, closeOp(id, true))
	}
	collect := &logpb.Collect{Jobs: sorted(w.model.Jobs)}
	for name := range w.model.Keys {
		collect.Keys = append(collect.Keys, &logpb.KeyRef{Queue: name.Queue, Key: name.Key})
	}
	slices.SortFunc(collect.Keys, func(a, b *logpb.KeyRef) int { return cmp.Compare(a.Key, b.Key) })
	ops = append(ops, &logpb.Op{Op: &logpb.Op_Collect{Collect: collect}})
	w.commit(w.lastTerm(), w.version(), w.model.Clock+int64(task.RetainOther), ops)
	if len(w.model.Jobs)+len(w.model.Keys) > 0 {
		w.problem("%d jobs and %d keys cannot be forgotten", len(w.model.Jobs), len(w.model.Keys))
	}
	for _, r := range w.replicas {
		if r.catchUp(); len(w.problems) > 0 {
			return
		}
		r.check()
		if r.batch != nil {
			r.disk.write(r.batch)
			r.m.Flushed(r.batch)
		}
		batch := r.m.TakeBatch()
		r.disk.write(batch)
		r.m.Flushed(batch)
		stats := r.m.Stats()
		_, timer := r.m.Due(math.MaxInt64, 1)
		if batch.Meta.JobsSum != 0 || batch.Meta.KeysSum != 0 || batch.Meta.SessionsSum != 0 || timer != 0 ||
			stats.Jobs+stats.Sessions+stats.Classes+stats.Keys != 0 || stats.LiveTasks != 0 || stats.DirtyBytes != 0 {
			w.problem("%s has forgotten everything, and yet: %+v, %v, timer %d", r.name, stats, batch.Meta, timer)
		}
		if len(r.disk.jobs)+len(r.disk.keys)+len(r.disk.sessions) > 0 {
			w.problem("%s: %d jobs, %d keys, %d sessions are left on disk", r.name, len(r.disk.jobs), len(r.disk.keys), len(r.disk.sessions))
		}
	}
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func splitKey(id string) (queue, key string) {
	queue, key, _ = strings.Cut(id, "\x00")
	return queue, key
}
