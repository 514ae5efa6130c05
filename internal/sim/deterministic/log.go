package deterministic

import (
	"fmt"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/task"
)

// entry is one of the log, and what the model says about it.
type entry struct {
	index, term uint64
	// prev is the entry before it.
	prev fsm.Place
	// data is nil for a configuration of raft.
	data    []byte
	ops     []*logpb.Op
	results []fsm.Result
	events  []sim.Event
	// digest is that of the first replica that applied it.
	digest uint64
	known  bool
}

// version is the one in which a leader writes entries now.
func (w *world) version() uint32 {
	switch {
	case w.model.Active != 0:
		return w.model.Active
	case w.nature.ungated:
		return fsm.GateVersion - 1
	}
	return fsm.GateVersion
}

// commit puts ops into the log for good, as an entry of a version. From then on the model has them, and the replicas
// come to them in time.
func (w *world) commit(term uint64, version uint32, clock int64, ops []*logpb.Op) *entry {
	version = max(version, ops[0].GetSetVersion().GetVersion())
	data, err := fsm.EncodeEntry(version, clock, ops)
	if err != nil {
		w.problem("encode an entry: %v", err)
	}
	w.index++
	e := &entry{index: w.index, term: term, data: data, ops: ops}
	e.results = w.model.Apply(e.index, version, clock, ops)
	e.events = w.model.Events
	w.counts.Entries++
	w.tracef("entry %d term %d clock %d %v %v", e.index, term, clock, names(ops), brief(e.results))
	w.ledger.committed(e)
	w.served(e)
	w.add(e)
	return e
}

// configure puts a configuration of raft into the log, which takes an index of its own.
func (w *world) configure() {
	w.index++
	w.tracef("entry %d configuration", w.index)
	w.add(&entry{index: w.index, term: w.term})
}

func (w *world) add(e *entry) {
	if n := len(w.log); n > 0 {
		e.prev = fsm.Place{Index: w.log[n-1].index, Term: w.log[n-1].term}
	}
	w.log = append(w.log, e)
	for _, r := range w.replicas {
		r.pullSoon()
	}
}

func brief(results []fsm.Result) (out []string) {
	for _, r := range results {
		out = append(out, fmt.Sprintf("{%v j%d s%d g%d/%d x%d}", task.KindOf(r.Err), r.Job, r.Session, r.Granted, r.Refused, len(r.Exceptions)))
	}
	return out
}

// same says whether two lists of results are the same. Of errors it compares the kind.
func same(a, b []fsm.Result) bool {
	return slices.EqualFunc(a, b, func(a, b fsm.Result) bool {
		if task.KindOf(a.Err) != task.KindOf(b.Err) || !slices.Equal(a.Exceptions, b.Exceptions) {
			return false
		}
		return a.Index == b.Index && a.Job == b.Job && a.Existed == b.Existed && a.Total == b.Total && a.Session == b.Session &&
			a.Cancelled == b.Cancelled && a.Stopping == b.Stopping && a.Granted == b.Granted && a.Refused == b.Refused
	})
}

// stray is what a deposed leader had in flight.
type stray struct {
	term    uint64
	version uint32
	clock   int64
	ops     []*logpb.Op
}

// strand decides what becomes of what a deposed leader had in flight: it is lost, or comes to
// the log before the next leader begins, or some time later. gone says that the next leader
// was there before it was sent, so that only a hostile log would ever take it.
func (w *world) strand(s stray, gone bool) {
	if len(s.ops) == 0 {
		return
	}
	if !w.nature.hostile {
		// A lease that a deposed leader saw end may have been renewed by its successor.
		expiry := func(op *logpb.Op) bool { c := op.GetCloseSession(); return c != nil && !c.Graceful }
		if gone && slices.ContainsFunc(s.ops, expiry) {
			return
		}
	}
	switch n := w.below(10); {
	case n < 4 && !gone:
		w.early = append(w.early, s)
	case n < 7 && (w.nature.hostile || !slices.ContainsFunc(s.ops, closes)):
		d := w.between(time.Millisecond, time.Second)
		if w.chance(30) {
			d = w.between(0, longest)
		}
		w.after(d, func() { w.arriveLate(s) })
	}
}

func closes(op *logpb.Op) bool { return op.GetCloseSession() != nil }

func (w *world) arriveLate(s stray) {
	if w.over {
		return
	}
	w.counts.Late++
	w.tracef("late: of term %d, %v", s.term, names(s.ops))
	w.commit(max(s.term, w.lastTerm()), s.version, s.clock, s.ops)
	// The leader applies it like all that it commits.
	if w.tenure != nil {
		w.tenure.r.catchUp()
	}
}

// lastTerm is that of the last entry: terms in the log never fall.
func (w *world) lastTerm() uint64 {
	if len(w.log) == 0 {
		return 0
	}
	return w.log[len(w.log)-1].term
}
