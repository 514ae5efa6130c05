package deterministic

import (
	"slices"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/internal/sim"
)

// replica is one server's state machine and disk, over all its lives.
type replica struct {
	w    *world
	name string
	disk *disk

	// m is nil while it is down.
	m *fsm.Machine
	// isolated: nothing reaches it. It leads no more and does not know.
	isolated bool
	// at is the place in the log of what it applies next.
	at int
	// tenure is what it leads, or nil.
	tenure *tenure
	// moves counts the addresses that it had, identity the data folders.
	moves, identity int
	// told is what its machine said of the entry under way.
	told []sim.Event

	pulls, flushes bool
	batch          *fsm.FlushBatch

	// skew is by how much its wall clock goes wrong.
	skew                   time.Duration
	clock, seen, lastStamp int64
}

func newReplica(w *world, name string) *replica {
	r := &replica{w: w, name: name, disk: newDisk(), skew: w.between(-300*time.Millisecond, 300*time.Millisecond)}
	r.start()
	return r
}

// start begins a life of the replica with what is on its disk.
func (r *replica) start() {
	m, err := r.disk.load()
	if err != nil {
		r.w.problem("%s: load: %v", r.name, err)
		return
	}
	r.m = m
	m.SetObserver(r)
	applied := m.AppliedIndex()
	r.at = 0
	for r.at < len(r.w.log) && r.w.log[r.at].index <= applied {
		r.at++
	}
	// Raft applies some again that the disk has: the machine must skip them.
	r.at -= min(r.at, r.w.below(4))
	r.w.tracef("%s starts at %d", r.name, applied)
	r.check()
	r.pullSoon()
}

// kill ends its life: what was not written is lost. A batch that was on its way may have been
// written all the same.
func (r *replica) kill() {
	if r.m == nil {
		return
	}
	if r.batch != nil && r.w.chance(50) {
		r.disk.write(r.batch)
	}
	r.m, r.batch, r.isolated = nil, nil, false
	r.w.counts.Crashes++
	r.w.tracef("%s is killed", r.name)
	if r.tenure != nil {
		r.tenure.depose()
		r.tenure.end()
	}
}

// install gives a replica that is down, or behind, the disk of another.
func (r *replica) install(from *replica) {
	if from.disk.meta.AppliedIndex <= r.disk.meta.AppliedIndex {
		return
	}
	if r.m != nil && r.m.AppliedIndex() >= from.disk.meta.AppliedIndex {
		return
	}
	r.w.counts.Installs++
	r.w.tracef("%s is installed from %s", r.name, from.name)
	r.disk, r.batch = from.disk.clone(), nil
	if r.m != nil {
		r.start()
	}
}

// pullSoon makes the replica apply what it has not applied, some time soon.
func (r *replica) pullSoon() {
	if r.pulls || r.m == nil {
		return
	}
	r.pulls = true
	d := r.w.between(0, 20*time.Millisecond)
	if r.w.nature.stalls && !r.w.healed && r.w.chance(3) {
		d = r.w.between(time.Second, 8*time.Second)
	}
	r.w.after(d, func() {
		r.pulls = false
		if r.m == nil || r.isolated {
			return
		}
		for range 1 + r.w.below(8) {
			r.applyNext()
		}
		if r.at < len(r.w.log) {
			r.pullSoon()
		}
	})
}

// catchUp applies all that is in the log.
func (r *replica) catchUp() {
	for r.m != nil && r.at < len(r.w.log) && len(r.w.problems) == 0 {
		r.applyNext()
	}
}

func (r *replica) applyNext() {
	if r.m == nil || r.at == len(r.w.log) || len(r.w.problems) > 0 {
		return
	}
	e := r.w.log[r.at]
	r.at++
	skipped := e.index <= r.m.AppliedIndex()
	r.told = nil
	if err := r.m.CheckFollows(e.index, e.prev); err != nil {
		r.w.problem("%s: %v", r.name, err)
	} else if e.data == nil {
		r.m.ApplyConfiguration(e.index, e.term, []byte("configuration"))
	} else if results, err := r.m.Apply(e.index, e.term, e.data); err != nil {
		r.w.problem("%s: entry %d: %v", r.name, e.index, err)
	} else {
		r.compare(e, results, skipped)
	}
	if skipped {
		return
	}
	index, digest := r.m.Digest()
	if !e.known {
		e.known, e.digest = true, digest
		r.w.tracef("%s digest %x at %d", r.name, digest, index)
		r.limits(e)
	}
	if e.digest != digest || index != e.index {
		r.w.problem("%s has digest %x at index %d, another replica had %x at %d", r.name, digest, index, e.digest, e.index)
	}
	if _, _, clock := r.m.Applied(); clock > r.clock {
		r.clock, r.seen = clock, r.w.clock()
	}
	r.flushSoon()
}

// compare compares what an entry gave here with what the model says.
func (r *replica) compare(e *entry, results []fsm.Result, skipped bool) {
	switch {
	case skipped && (results != nil || len(r.told) > 0):
		r.w.problem("%s applied entry %d again", r.name, e.index)
	case skipped:
	case !same(results, e.results):
		r.w.problem("%s: entry %d %v: %+v, the model says %+v", r.name, e.index, e.ops, results, e.results)
	case !slices.Equal(r.told, e.events):
		r.w.problem("%s: entry %d %v told %+v, the model says %+v", r.name, e.index, e.ops, r.told, e.events)
	}
}

// flushSoon makes the replica write what it has not written.
func (r *replica) flushSoon() {
	if r.flushes {
		return
	}
	r.flushes = true
	r.w.after(r.w.between(r.w.nature.flush/2, r.w.nature.flush), func() {
		r.flushes = false
		if r.m == nil || r.batch != nil {
			return
		}
		batch, m := r.m.TakeBatch(), r.m
		if batch == nil {
			return
		}
		r.batch = batch
		r.w.after(r.w.between(0, 100*time.Millisecond), func() {
			if r.m != m || r.batch != batch {
				return // it was killed meanwhile
			}
			r.disk.write(batch)
			r.batch = nil
			m.Flushed(batch)
			if m.Stats().DirtyBytes > 0 {
				r.flushSoon()
			}
		})
	})
}

// wall is its wall clock.
func (r *replica) wall() int64 { return r.w.clock() + int64(r.skew) }

// stamp is the state machine's time as a leader sees it: its wall clock, but never
// behind the last entry and what has passed since.
func (r *replica) stamp() int64 {
	r.lastStamp = max(r.lastStamp, r.wall(), r.clock+r.w.clock()-r.seen)
	return r.lastStamp
}

// Granted implements fsm.Observer.
func (r *replica) Granted(g fsm.Grant) {
	for i := g.First; i < g.First+g.Count; i++ {
		r.told = append(r.told, sim.Event{
			Kind: sim.GrantedEvent, Session: g.Session, Job: g.Job, Index: i, Token: uint64(int64(i) + g.TokenOffset), Attempt: g.Attempt,
		})
	}
	if r.tenure != nil {
		r.tenure.fleet.Granted(g)
	}
}

// Stopping implements fsm.Observer.
func (r *replica) Stopping(session, job uint64, index uint32, offset int64) {
	r.told = append(r.told, sim.Event{Kind: sim.StoppingEvent, Session: session, Job: job, Index: index, Token: uint64(int64(index) + offset)})
	if r.tenure != nil {
		r.tenure.fleet.Stopping(session, job, index, offset)
	}
}

// SessionClosed implements fsm.Observer.
func (r *replica) SessionClosed(session uint64) {
	r.told = append(r.told, sim.Event{Kind: sim.ClosedEvent, Session: session})
	if r.tenure != nil {
		r.tenure.fleet.SessionClosed(session)
	}
}

// Wake implements fsm.Observer.
func (r *replica) Wake() {
	if r.tenure != nil {
		r.tenure.fleet.Wake()
	}
}

// results returns the outcomes of a job from a cursor on: from memory, then from the disk.
func (r *replica) results(job uint64, cursor uint32) (out []sim.Outcome) {
	for {
		segments, ok := r.m.Segments(job, cursor, 1<<20)
		if !ok {
			if r.m.Collected(job) {
				return out
			}
			j := r.disk.jobs[job]
			if j == nil {
				return out
			}
			segments = j.from(cursor)
		}
		before := cursor
		for _, s := range segments {
			out = append(out, outcomesOf(s, &cursor)...)
		}
		if cursor == before {
			return out
		}
	}
}
