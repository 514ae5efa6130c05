package deterministic

import (
	"container/heap"
	"crypto/sha256"
	"fmt"
	"hash"
	"math/rand/v2"
	"testing/synctest"
	"time"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
)

// Options is what a run is made of.
type Options struct {
	Seed uint64
	// Stretch is by how much a run is longer than usual; 0: not at all.
	Stretch int
	// Trace, if set, gets each line of the history.
	Trace func(line string)
}

// Counts counts the interesting things that have happened.
type Counts struct {
	Steps, Entries, Terms, Crashes, Installs, Zombies int
	Submits, Repeats, Conflicts, Appends, Cancels     int
	Grants, Recorded, Already, Superseded             int
	Late, Closed, Deaths, Pauses                      int
	Collected, Results, Idle, Passed                  int
	Overdue, Shunned, Absolved                        int
}

// Result is what became of a run.
type Result struct {
	Counts
	// Hash is that of the whole history.
	Hash [sha256.Size]byte
	// Problems is what must not be; a run ends with the first of them.
	Problems []string
	// Last is the end of the history.
	Last []string
	// Paths counts the interesting things that happened in the model.
	Paths map[string]int
}

// lastLines is how much of its history a run remembers.
const lastLines = 40

// maxSteps ends a run that goes round in circles.
const maxSteps = 400_000

// world is one run.
type world struct {
	o      Options
	random *rand.Rand
	// rise decides about the version of the log, apart from random so that the rest of a history stays as it is.
	rise   *rand.Rand
	nature nature

	events queue
	began  time.Time
	now    time.Duration // since it began
	seq    uint64
	healed bool
	over   bool

	model    *sim.Model
	log      []*entry
	index    uint64
	term     uint64
	replicas []*replica
	// tenure leads; nil: nobody does. zombie led before, and does not know that it is deposed.
	tenure, zombie *tenure
	workers        []*worker
	clients        []*client
	ledger         *ledger
	early          []stray

	counts   Counts
	problems []string
	hash     hash.Hash
	line     []byte
	last     []string
}

// nature is what kind of trouble a run has. Runs that all have a bit of everything would never
// see much of anything.
type nature struct {
	// trouble is how long clients work and trouble is made.
	trouble  time.Duration
	clients  int
	loss     int // of messages, per mille
	crashes  bool
	zombies  bool
	deaths   bool
	pauses   bool
	installs bool
	stalls   bool
	// stale lets plans come to the log that were made for another state.
	stale bool
	// hostile lets entries that a deposed leader had in flight come to the log at any time. Raft allows that only
	// before the next leader begins, and leases rely on that to keep exclusive tasks from overlapping at their
	// workers.
	hostile bool
	// ungated: the servers are of a build from before the gate, until all are replaced.
	ungated   bool
	forgetful bool // clients leave open jobs behind
	poison    bool // some tasks kill the agents that run them
	flush     time.Duration
	extra     time.Duration // of run times: short tasks are fetched in advance
}

// Run runs a simulation. It must be called in a bubble of testing/synctest, which it uses
// for its clock alone: it starts no goroutine.
func Run(o Options) Result {
	w := &world{
		o: o, random: rand.New(rand.NewPCG(o.Seed, 0x726f7461)), began: time.Now(), model: sim.NewModel(), hash: sha256.New(),
	}
	w.ledger = newLedger(w)
	w.rise = rand.New(rand.NewPCG(o.Seed, 0x72697365))
	w.nature = w.drawNature()
	w.nature.ungated = w.rise.IntN(100) < 40
	w.tracef("nature %+v", w.nature)
	for i := range 3 {
		w.replicas = append(w.replicas, newReplica(w, fmt.Sprintf("n%d", i+1)))
	}
	for i := range 4 {
		w.workers = append(w.workers, newWorker(w, i))
	}
	for i := range w.nature.clients {
		w.clients = append(w.clients, newClient(w, i))
	}
	w.after(0, w.elect)
	w.after(w.between(50*time.Millisecond, time.Second), w.makeTrouble)
	w.after(w.between(50*time.Millisecond, longest), w.moveServers)
	w.after(w.riseAfter(), w.raise)
	w.after(w.riseAfter(), w.changeAccess)
	w.after(w.between(time.Second, 2*time.Second), w.lookAtAll)
	w.after(0, w.planBlindly)
	w.after(w.nature.trouble, w.heal)
	w.loop()
	r := Result{Counts: w.counts, Problems: w.problems, Last: w.last, Paths: w.model.Paths}
	w.hash.Sum(r.Hash[:0])
	return r
}

func (w *world) drawNature() nature {
	return nature{
		trouble: w.between(time.Second, 10*time.Second) * time.Duration(1+w.o.Stretch), clients: 1 + w.below(3), forgetful: w.chance(10), poison: w.chance(10),
		loss: []int{0, 5, 30}[w.below(3)], crashes: w.chance(60), zombies: w.chance(60), deaths: w.chance(60), pauses: w.chance(60),
		installs: w.chance(50), stalls: w.chance(40), stale: w.chance(60), hostile: w.chance(35),
		flush: []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, 3 * time.Second}[w.below(3)],
		extra: []time.Duration{time.Millisecond, 30 * time.Millisecond, time.Second}[w.below(3)],
	}
}

// loop takes one event after the other until all is over.
func (w *world) loop() {
	for !w.over && len(w.problems) == 0 {
		if len(w.events) == 0 {
			w.problem("nothing is left to happen, and it is not over")
			return
		}
		e := heap.Pop(&w.events).(event)
		if e.at > w.now {
			time.Sleep(e.at - w.now)
			// A timer of the fleet that is due at the same moment comes first, always.
			synctest.Wait()
			w.now = e.at
		}
		w.counts.Steps++
		if w.counts.Steps > maxSteps {
			w.problem("%d steps, and it is not over: %s", maxSteps, w.unfinished())
			return
		}
		e.do()
		if w.tenure != nil {
			w.tenure.woken()
		}
		if w.zombie != nil {
			w.zombie.woken()
		}
	}
}

// after calls do after a time. Of calls that are due at the same moment, the one that was asked for first comes
// first.
func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, event{w.now + d, w.seq, do})
}

func (w *world) problem(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
	w.tracef("PROBLEM "+format, args...)
}

// tracef adds a line to the history.
func (w *world) tracef(format string, args ...any) {
	w.line = fmt.Appendf(w.line[:0], "%v ", w.now)
	w.line = fmt.Appendf(w.line, format, args...)
	w.line = append(w.line, '\n')
	_, _ = w.hash.Write(w.line)
	line := string(w.line[:len(w.line)-1])
	if len(w.last) == 2*lastLines {
		w.last = append(w.last[:0], w.last[lastLines:]...)
	}
	w.last = append(w.last, line)
	if w.o.Trace != nil {
		w.o.Trace(line)
	}
}

// below draws a number below n.
func (w *world) below(n int) int { return w.random.IntN(n) }

func (w *world) chance(percent int) bool { return w.random.IntN(100) < percent }

func (w *world) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.random.Int64N(int64(high-low)+1))
}

// latency is how long a message takes; most are quick.
func (w *world) latency() time.Duration {
	if w.nature.stalls && !w.healed && w.chance(2) {
		return w.between(100*time.Millisecond, 3*time.Second)
	}
	return w.between(100*time.Microsecond, 3*time.Millisecond)
}

// lost says whether a message is lost.
func (w *world) lost() bool {
	return !w.healed && w.nature.loss > 0 && w.random.IntN(1000) < w.nature.loss
}

// clock is the true time, Unix ns.
func (w *world) clock() int64 { return w.began.UnixNano() + int64(w.now) }

type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

// queue is events, the next one first.
type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *queue) Push(e any) { *q = append(*q, e.(event)) }

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}

// names lists what an entry holds, for the history.
func names(ops []*logpb.Op) (out []string) {
	for _, op := range ops {
		out = append(out, fmt.Sprintf("%T", op.Op)[len("*logpb.Op_"):])
	}
	return out
}
