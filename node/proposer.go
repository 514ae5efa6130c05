package node

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/latency"
	"github.com/rota-scheduler/rota/internal/stopwatch"
	"github.com/rota-scheduler/rota/task"
)

// lane orders what waits to be proposed: what frees and keeps slots goes before what
// fills them, and that goes before new work, unless it has waited for too long.
type lane int

const (
	controlLane lane = iota // reports, sessions, expiry, cancel
	planLane
	submitLane
	numLanes
)

func laneOf(op *logpb.Op) lane {
	switch op.Op.(type) {
	case *logpb.Op_Submit, *logpb.Op_AppendTasks:
		return submitLane
	case *logpb.Op_ApplyPlan:
		return planLane
	}
	return controlLane
}

// isReport says that an op is a worker's report of tasks.
func isReport(op *logpb.Op) bool {
	_, ok := op.Op.(*logpb.Op_Report)
	return ok
}

const (
	// maxEntryBytes bounds what one entry takes of what waits. A write of 1 MiB costs
	// the disk 10 to 20 times as much as one of 256 KiB. A single larger op still is
	// one entry.
	maxEntryBytes = 256 << 10
	maxEntryOps   = 4096
	// laneOps and laneBytes bound each lane: beyond them callers have to try again later.
	laneOps   = 32 << 10
	laneBytes = 64 << 20
	// reportOps and reportBytes bound what the reports of all sessions take of the control lane. The
	// rest is for what opens, keeps and ends sessions and jobs: workers cannot keep that out.
	reportOps   = laneOps / 2
	reportBytes = 32 << 20
	// lanePatience is how long the head of a lane waits for the lanes before it. Then its lane goes first
	// in every other entry. Otherwise workers that send large results without a pause would keep
	// everybody else's submits, and the plans for their tasks, out of the log.
	lanePatience = 500 * time.Millisecond
	// enqueueTimeout bounds how long an entry waits for raft's own queue.
	enqueueTimeout = time.Second
	// retryDelay is when to try again what a server could not take, or could not do, for the moment.
	retryDelay = 50 * time.Millisecond
	// maxSubmitWait bounds how long a submit waits for the log. It is half of the 10 s
	// after which clients send a request again. If the lane took longer than that to
	// clear, the log would be full of requests that nobody waits for any more, and no answer
	// would ever be in time.
	maxSubmitWait = 5 * time.Second
)

// proposal is an op on its way to the log. The proposer calls done once.
type proposal struct {
	op   *logpb.Op
	size int
	// weight is about how many tasks Apply has to look at.
	weight int
	// since is when it began to wait.
	since time.Time
	done  func(fsm.Result, error)
}

// proposerConfig is what a proposer uses of the rest of the server.
type proposerConfig struct {
	raft  entryLog
	state stateMachine
	// clock gives each entry its time.
	clock *stateClock
	// leader is where callers can go whose op cannot be proposed here.
	leader leaderHint
	// entriesInFlight bounds the entries that wait for their commit.
	entriesInFlight int
}

// entryLog is raft, as far as a proposer uses it.
type entryLog interface {
	Apply(cmd []byte, timeout time.Duration) raft.ApplyFuture
}

// leaderHint says where the leader is.
type leaderHint interface {
	// addr is the gRPC address of the leader, or "".
	addr() string
	// notLeader is the error for a request that only the leader can serve.
	notLeader() error
}

// proposer makes entries of what waits. There is no timer: while a few entries are in
// flight, what arrives meanwhile becomes the next one.
type proposer struct {
	cfg proposerConfig
	// weigh is the weight of an op. supports returns an error if the active version does not know the op.
	weigh    func(*logpb.Op) int
	supports func(*logpb.Op) error

	mu      sync.Mutex
	changed *sync.Cond
	lanes   [numLanes][]proposal
	bytes   [numLanes]int
	// reports is the room that the reports take in the control lane.
	reports load
	// favoured: a lane whose head had waited for long went first in the last entry.
	favoured bool
	inFlight int
	closed   bool
	// alarm wakes the sender for submits that have waited for too long; nil: there was none.
	alarm *time.Timer

	flights chan flight
	// flight measures how long the oldest entry in flight has waited for its commit.
	flight stopwatch.Stopwatch
	// took is how long entries have waited for it, those included that failed.
	took latency.Histogram
	wg   sync.WaitGroup
}

// load is the room that some of the ops that wait take.
type load struct{ ops, bytes int }

// flight is an entry that waits for its commit.
type flight struct {
	future    raft.ApplyFuture
	proposals []proposal
	sent      time.Time
}

// newProposer returns a proposer that works until it is closed or aborted.
func newProposer(cfg proposerConfig) *proposer {
	p := &proposer{
		cfg: cfg, flights: make(chan flight, cfg.entriesInFlight),
		weigh: func(op *logpb.Op) int { return cfg.state.Machine().Weight(op) },
		supports: func(op *logpb.Op) error {
			if op.GetSetVersion() != nil {
				return nil // its entry has the version that it rises to
			}
			return fsm.Supports(cfg.state.Machine().ActiveVersion(), fsm.Needs(op))
		},
	}
	p.changed = sync.NewCond(&p.mu)
	p.wg.Go(p.send)
	p.wg.Go(p.receive)
	return p
}

// propose queues op. done gets its result, or an error with a kind: that of a definite failure,
// or KindUnknownOutcome.
func (p *proposer) propose(op *logpb.Op, done func(fsm.Result, error)) {
	l, size, weight := laneOf(op), proto.Size(op), p.weigh(op)
	unsupported := p.supports(op)
	p.mu.Lock()
	var err error
	switch {
	case p.closed:
		err = errClosing()
	case unsupported != nil:
		err = unsupported
	case len(p.lanes[l]) >= laneOps || p.bytes[l]+size > laneBytes && len(p.lanes[l]) > 0,
		isReport(op) && (p.reports.ops >= reportOps || p.reports.bytes+size > reportBytes && p.reports.ops > 0):
		err = &task.Error{Kind: task.KindExhausted, Msg: "too many requests wait for the log; try again", RetryAfter: retryDelay}
	default:
		p.lanes[l] = append(p.lanes[l], proposal{op, size, weight, time.Now(), done})
		p.bytes[l] += size
		if isReport(op) {
			p.reports = load{p.reports.ops + 1, p.reports.bytes + size}
		}
	}
	p.mu.Unlock()
	if err != nil {
		done(fsm.Result{}, err)
		return
	}
	p.changed.Signal()
}

// take waits for work and for room in flight, and returns what makes the next entry;
// nil once the proposer is closed and empty. Meanwhile it refuses submits that have waited for
// too long. They never left this server, so that is a definite failure.
func (p *proposer) take() []proposal {
	for {
		batch, late := p.next()
		for _, l := range late {
			l.done(fsm.Result{}, &task.Error{
				Kind: task.KindExhausted, RetryAfter: retryDelay,
				Msg: fmt.Sprintf("the request has waited %v for the log; try again", maxSubmitWait),
			})
		}
		if len(late) == 0 {
			return batch
		}
	}
}

// next waits, and returns what makes the next entry, or submits that are too late for one.
func (p *proposer) next() (batch, late []proposal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if late = p.late(time.Now()); len(late) > 0 {
			return nil, late
		}
		waiting := 0
		for l := range p.lanes {
			waiting += len(p.lanes[l])
		}
		switch {
		case p.closed && waiting == 0:
			return nil, nil
		case waiting > 0 && p.inFlight < p.cfg.entriesInFlight:
			p.inFlight++
			return p.batch(time.Now()), nil
		}
		p.wakeForLate()
		p.changed.Wait()
	}
}

// wakeForLate wakes next when the oldest submit has waited for too long. While nothing is
// committed and nothing comes, nobody else would, and the caller of that submit would give up
// without knowing what became of it. mu is held.
func (p *proposer) wakeForLate() {
	q := p.lanes[submitLane]
	if len(q) == 0 {
		return
	}
	wait := time.Until(q[0].since.Add(maxSubmitWait)) + time.Millisecond
	if p.alarm == nil {
		p.alarm = time.AfterFunc(wait, func() {
			// With the lock, so that the signal does not come between the look and the wait.
			p.mu.Lock()
			defer p.mu.Unlock()
			p.changed.Signal()
		})
		return
	}
	p.alarm.Reset(wait)
}

// late takes the submits that have waited for too long from their lane. mu is held.
func (p *proposer) late(now time.Time) []proposal {
	q := p.lanes[submitLane]
	k := 0
	for k < len(q) && now.Sub(q[k].since) > maxSubmitWait {
		p.bytes[submitLane] -= q[k].size
		k++
	}
	p.lanes[submitLane] = q[k:]
	return q[:k:k]
}

// batch takes from the lanes in their order, up to the size of an entry. A few bytes can name
// tens of thousands of tasks, so their number bounds an entry too. mu is held.
func (p *proposer) batch(now time.Time) []proposal {
	var batch []proposal
	size, weight := 0, 0
	for _, l := range p.order(now) {
		q := p.lanes[l]
		k := 0
		for k < len(q) && len(batch) < maxEntryOps && (len(batch) == 0 || size+q[k].size <= maxEntryBytes && weight+q[k].weight <= fsm.MaxEntryTasks) {
			batch = append(batch, q[k])
			size += q[k].size
			weight += q[k].weight
			p.leaves(l, &q[k])
			k++
		}
		clear(q[:k])
		if p.lanes[l] = q[k:]; k == len(q) {
			p.lanes[l] = nil
		}
		if k < len(q) {
			break // later lanes must not pass an op that waits for the next entry
		}
	}
	return batch
}

// order is in which order the lanes fill the next entry. Lanes whose heads have waited for too long
// go first, in every other entry at most: the lanes before them keep at least half of the log.
func (p *proposer) order(now time.Time) []lane {
	first, rest := make([]lane, 0, numLanes), make([]lane, 0, numLanes)
	for l := range numLanes {
		if q := p.lanes[l]; l > controlLane && !p.favoured && len(q) > 0 && now.Sub(q[0].since) >= lanePatience {
			first = append(first, l)
		} else {
			rest = append(rest, l)
		}
	}
	p.favoured = len(first) > 0
	return append(first, rest...)
}

// leaves notes that an op is no longer in its lane. mu is held.
func (p *proposer) leaves(l lane, pr *proposal) {
	p.bytes[l] -= pr.size
	if isReport(pr.op) {
		p.reports = load{p.reports.ops - 1, p.reports.bytes - pr.size}
	}
}

// send makes entries and gives them to raft, until the proposer is closed and empty.
func (p *proposer) send() {
	defer close(p.flights)
	for batch := p.take(); batch != nil; batch = p.take() {
		ops := make([]*logpb.Op, len(batch))
		for i := range batch {
			ops[i] = batch[i].op
		}
		data, err := fsm.EncodeEntry(p.cfg.state.Machine().ActiveVersion(), p.cfg.clock.now(), ops)
		if err != nil {
			p.finish(batch, nil, task.Errorf(task.KindInvalid, "cannot encode the request: %v", err))
			continue
		}
		p.flights <- flight{p.cfg.raft.Apply(data, enqueueTimeout), batch, time.Now()}
	}
}

// receive answers the ops of each entry, in the order of the log.
func (p *proposer) receive() {
	for f := range p.flights {
		p.flight.StartedAt(f.sent)
		err := f.future.Error()
		p.flight.Stop()
		p.took.Add(time.Since(f.sent))
		if err != nil {
			p.finish(f.proposals, nil, p.failure(err))
			continue
		}
		results, ok := f.future.Response().([]fsm.Result)
		if !ok || len(results) != len(f.proposals) {
			p.finish(f.proposals, nil, task.Errorf(task.KindUnknownOutcome, "the entry was applied from elsewhere"))
			continue
		}
		p.finish(f.proposals, results, nil)
	}
}

// finish answers the ops of one entry.
func (p *proposer) finish(proposals []proposal, results []fsm.Result, err error) {
	p.mu.Lock()
	p.inFlight--
	p.mu.Unlock()
	p.changed.Signal()
	for i, pr := range proposals {
		if err != nil {
			pr.done(fsm.Result{}, err)
		} else {
			pr.done(results[i], results[i].Err)
		}
	}
}

// close refuses what is new. What waits already is still proposed.
func (p *proposer) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.changed.Signal()
}

// abort refuses what is new and what waits.
func (p *proposer) abort() {
	p.mu.Lock()
	p.closed = true
	var dropped []proposal
	for l := range p.lanes {
		dropped = append(dropped, p.lanes[l]...)
		p.lanes[l], p.bytes[l] = nil, 0
	}
	p.reports = load{}
	p.mu.Unlock()
	p.changed.Signal()
	for _, d := range dropped {
		d.done(fsm.Result{}, errClosing())
	}
}

// wait returns when all that waited when the proposer was closed has its answer.
func (p *proposer) wait() { p.wg.Wait() }

func errClosing() error { return task.Errorf(task.KindUnavailable, "the server is shutting down") }

// failure says what raft's error means. Only these three are sure not to have
// taken effect; after any other the entry may yet be committed.
func (p *proposer) failure(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return p.cfg.leader.notLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return &task.Error{Kind: task.KindExhausted, Msg: "the log is busy; try again", RetryAfter: retryDelay}
	}
	return &task.Error{Kind: task.KindUnknownOutcome, Msg: "the leader was lost while the request was under way: it may or may not have taken effect", Leader: p.cfg.leader.addr(), Err: err}
}

// waiting is how long the oldest entry in flight has waited for its commit; 0: there is none.
func (p *proposer) waiting() time.Duration { return p.flight.Running() }
