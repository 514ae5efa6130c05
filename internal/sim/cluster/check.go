package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/task"
)

// History is what clients and workers were told, and what was seen on servers. Whatever
// contradicts an earlier note is a problem at once; the rest is checked in the end.
type History struct {
	mu       sync.Mutex
	problems []string

	// submits is, by request key, the job that was acknowledged.
	submits map[string]uint64
	jobs    []uint64
	// outcomes is what any server ever showed of a task that is final.
	outcomes map[task.ID]outcome
	// known is tasks of which somebody was told that they are final.
	known []task.ID
	// recorded is reports of a success that were acknowledged: the token.
	recorded map[task.ID]uint64
	// refused is reports that were told to be superseded.
	refused map[attemptKey]struct{}
	// granted is grants that workers were sent.
	granted map[uint64]task.ID
	// runs is when tasks of serial jobs ran.
	runs map[uint64][]interval
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

// Counts is how much of what is interesting happened.
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

// attemptKey is one attempt at one task.
type attemptKey struct {
	task.ID
	token uint64
}

// outcome is the result of a task, as a reader sees it.
type outcome struct {
	cursor  uint32
	state   task.State
	reason  task.Reason
	attempt uint32
	token   uint64
	granted bool
	worker  string
	output  string
	missing uint64
}

type interval struct {
	id         task.ID
	worker     string
	from, till time.Time
}

type digestSeen struct {
	digest uint64
	server string
}

func newHistory() *History {
	return &History{
		submits: map[string]uint64{}, outcomes: map[task.ID]outcome{}, recorded: map[task.ID]uint64{},
		refused: map[attemptKey]struct{}{}, granted: map[uint64]task.ID{}, runs: map[uint64][]interval{},
		digests: map[uint64]digestSeen{}, terms: map[uint64]string{}, versions: map[uint32]versionSeen{},
	}
}

// maxProblems bounds what is said of a run that went wrong: the first ones say it all.
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
func (h *History) submitted(key string, r fsm.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	job, known := h.submits[key]
	switch {
	case !known:
		h.submits[key] = r.Job
		h.jobs = append(h.jobs, r.Job)
		h.Counts.Submits++
	case job != r.Job:
		h.problemLocked("request key %s made job %d and job %d", key, job, r.Job)
	default:
		h.Counts.Repeats++
		if !r.Existed {
			h.problemLocked("request key %s was acknowledged twice as new, for job %d", key, job)
		}
	}
}

// aJob returns a random acknowledged job; ok is false where there is none.
func (h *History) aJob(random *rand.Rand) (id uint64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.jobs) == 0 {
		return 0, false
	}
	// New ones are more interesting.
	recent := h.jobs[max(0, len(h.jobs)-20):]
	if random.IntN(2) == 0 {
		recent = h.jobs
	}
	return recent[random.IntN(len(recent))], true
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
	return slices.Clone(h.jobs[max(0, len(h.jobs)-few):]), slices.Clone(h.known[max(0, len(h.known)-few):])
}

// saw notes results that a server shows.
func (h *History) saw(server string, job uint64, results []store.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range results {
		id := task.ID{Job: job, Index: r.Index}
		o := outcomeOf(r)
		if first, known := h.outcomes[id]; !known {
			h.outcomes[id] = o
			h.known = append(h.known, id)
		} else if first != o {
			h.problemLocked("the outcome of task %v was %+v, and is %+v on %s", id, first, o, server)
		}
	}
}

func outcomeOf(r store.Result) outcome {
	o := outcome{
		cursor: r.Cursor, state: task.State(r.Segment.State), reason: task.Reason(r.Segment.Reason), attempt: r.Segment.Attempt,
		granted: r.Segment.Granted, worker: r.Segment.Worker, output: string(r.Output),
		missing: r.Segment.OutputMissing,
	}
	if o.granted {
		o.token = uint64(int64(r.Index) + r.Segment.TokenOffset)
	}
	return o
}

// grant notes a task that a worker was sent.
func (h *History) grant(id task.ID, token uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch other, known := h.granted[token]; {
	case !known:
		h.granted[token] = id
		h.Counts.Grants++
	case other != id:
		h.problemLocked("token %d was granted for %v and for %v", token, other, id)
	}
}

// reported notes the answer to a report.
func (h *History) reported(k attemptKey, o task.Outcome, v fsm.Verdict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch v {
	case fsm.Recorded, fsm.Already:
		if v == fsm.Recorded {
			h.Counts.Recorded++
		} else {
			h.Counts.Already++
		}
		if _, no := h.refused[k]; no && o == task.OutcomeSucceeded {
			h.problemLocked("the report on %v under token %d was superseded, and is %v", k.ID, k.token, v)
		}
		if o != task.OutcomeSucceeded {
			return
		}
		if other, known := h.recorded[k.ID]; known && other != k.token {
			h.problemLocked("task %v was recorded under token %d and under token %d", k.ID, other, k.token)
		} else if !known {
			h.recorded[k.ID] = k.token
			h.known = append(h.known, k.ID)
		}
	case fsm.Superseded:
		h.Counts.Superseded++
		h.refused[k] = struct{}{}
		if token, known := h.recorded[k.ID]; known && token == k.token {
			h.problemLocked("the report on %v under token %d was recorded, and is superseded", k.ID, k.token)
		}
	default:
		h.problemLocked("the report on %v under token %d got verdict %d", k.ID, k.token, v)
	}
}

// ran notes when a task of a serial job ran.
func (h *History) ran(id task.ID, worker string, from, till time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.runs[id.Job] {
		if o.from.Before(till) && from.Before(o.till) {
			h.problemLocked("serial job %d: task %d ran on %s from %v to %v, task %d on %s from %v to %v", id.Job,
				id.Index, worker, clock(from), clock(till), o.id.Index, o.worker, clock(o.from), clock(o.till))
		}
	}
	h.runs[id.Job] = append(h.runs[id.Job], interval{id, worker, from, till})
}

func clock(t time.Time) string { return t.Format("04:05.000") }

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
