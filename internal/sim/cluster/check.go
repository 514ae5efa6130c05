package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/task"
)

// History is what clients and workers were told, and what was seen on servers. Whatever contradicts an earlier note
// is a problem at once; the rest is checked at the end.
type History struct {
	mu       sync.Mutex
	problems []string

	// promises is what clients and workers were told, and what servers showed of results.
	promises *sim.Promises
	// known is tasks of which somebody was told that they are final.
	known []task.ID
	// digests is, by applied index, the first digest that a server was seen with.
	digests map[uint64]digestSeen
	// checkpoints is those that were asked for.
	checkpoints []uint64
	// terms is those in which a server was ready to lead.
	terms map[uint64]string
	// versions is where each version of the log was seen.
	versions map[uint32]versionSeen

	Counts Counts
}

// Counts counts the interesting things that happened.
type Counts struct {
	Submits, Repeats, Cancels, Reads, FollowerReads, Unknown int
	Grants, Recorded, Already, Superseded                    int
	LeaderTerms, Crashes, Wipes, Digests, Lost               int
	Replaced, Rises                                          int
	VirtualTime                                              time.Duration
}

// Add adds the counts of another run.
func (c *Counts) Add(o Counts) {
	c.Submits, c.Repeats, c.Cancels = c.Submits+o.Submits, c.Repeats+o.Repeats, c.Cancels+o.Cancels
	c.Reads, c.FollowerReads, c.Unknown = c.Reads+o.Reads, c.FollowerReads+o.FollowerReads, c.Unknown+o.Unknown
	c.Grants, c.Recorded, c.Already, c.Superseded = c.Grants+o.Grants, c.Recorded+o.Recorded, c.Already+o.Already, c.Superseded+o.Superseded
	c.LeaderTerms, c.Crashes, c.Wipes = c.LeaderTerms+o.LeaderTerms, c.Crashes+o.Crashes, c.Wipes+o.Wipes
	c.Digests, c.Lost = c.Digests+o.Digests, c.Lost+o.Lost
	c.Replaced, c.Rises = c.Replaced+o.Replaced, c.Rises+o.Rises
	c.VirtualTime += o.VirtualTime
}

type digestSeen struct {
	digest uint64
	server string
}

func newHistory() *History {
	h := &History{digests: map[uint64]digestSeen{}, terms: map[uint64]string{}, versions: map[uint32]versionSeen{}}
	h.promises = sim.NewPromises(h.problemLocked)
	h.promises.InOrder = true
	return h
}

// maxProblems bounds the problems that a run reports: the first ones are enough.
const maxProblems = 20

func (h *History) problem(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.problemLocked(format, args...)
}

func (h *History) problemLocked(format string, args ...any) {
	if len(h.problems) < maxProblems {
		h.problems = append(h.problems, fmt.Sprintf(format, args...))
	}
}

// count changes the counts.
func (h *History) count(f func(c *Counts)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.Counts)
}

// submitted notes the answer to a submit.
func (h *History) submitted(key sim.KeyName, r fsm.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.promises.Submitted(key, r) {
		h.promises.Made(r.Job)
		h.Counts.Submits++
	} else {
		h.Counts.Repeats++
	}
}

// aJob returns a random acknowledged job; ok is false if there is none.
func (h *History) aJob(random *rand.Rand) (id uint64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.promises.AJob(random)
}

// aKnownTask returns a task of which somebody was told that it is final.
func (h *History) aKnownTask(random *rand.Rand) (id task.ID, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.known) == 0 {
		return id, false
	}
	recent := h.known[max(0, len(h.known)-10):]
	return recent[random.IntN(len(recent))], true
}

// newest returns what was acknowledged last: jobs, and tasks that are final.
func (h *History) newest() (jobs []uint64, tasks []task.ID) {
	const few = 10
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.promises.Newest(few), slices.Clone(h.known[max(0, len(h.known)-few):])
}

// saw notes results that a server shows.
func (h *History) saw(server string, job uint64, results []store.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range results {
		if h.promises.Saw(server, job, sim.OutcomeOf(r.Index, r.Cursor, r.Segment, r.Output)) {
			h.known = append(h.known, task.ID{Job: job, Index: r.Index})
		}
	}
}

// sent notes an attempt that a worker was sent.
func (h *History) sent(k sim.AttemptKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.promises.Sent(k) {
		h.Counts.Grants++
	}
}

// reported notes the answer to a report.
func (h *History) reported(k sim.AttemptKey, o task.Outcome, v fsm.Verdict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch v {
	case fsm.Recorded:
		h.Counts.Recorded++
	case fsm.Already:
		h.Counts.Already++
	case fsm.Superseded:
		h.Counts.Superseded++
	}
	if h.promises.Reported(k, o, v) {
		h.known = append(h.known, k.ID)
	}
}

// ran notes when an exclusive attempt ran.
func (h *History) ran(k sim.AttemptKey, worker string, from, till time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.promises.Ran(k, worker, from, till)
}

// settle compares what anybody was told with the model.
func (h *History) settle(m *sim.Model) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.promises.Settle(m)
}

// digest notes the digest of a server.
func (h *History) digest(server string, index, digest uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first, known := h.digests[index]
	switch {
	case !known:
		h.digests[index] = digestSeen{digest, server}
	case first.digest != digest:
		h.problemLocked("at index %d %s has digest %x, %s has %x", index, first.server, first.digest, server, digest)
	case first.server != server:
		h.Counts.Digests++
	}
}

// leads notes that a server is ready to lead in a term.
func (h *History) leads(server string, term uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first, known := h.terms[term]
	switch {
	case !known:
		h.terms[term] = server
		h.Counts.LeaderTerms++
	case first != server:
		h.problemLocked("%s and %s both led in term %d", first, server, term)
	}
}
