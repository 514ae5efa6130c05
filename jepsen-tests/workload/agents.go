package workload

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
)

const (
	// agentHandler is what only agents run.
	agentHandler = "chaos.agent"
	// agentCount is how many there are, agentSlots what each says it can run at once: more
	// than ever waits, so that there is always room elsewhere for what one has lost.
	agentCount, agentSlots = 3, 64
	// firstReport numbers the processes of reports, each of which is one in the history:
	// a worker may have many under way at once.
	firstReport = 1_000_000
)

// agents are workers of the suite's own: they speak the protocol of workers, so that they
// can do what no honest worker does. One at a time falls silent for longer than its lease,
// dies and comes back as another process, or is met by a second process with its identity.
type agents struct {
	env     *Env
	reports atomic.Int64
	// honest: no more tricks, and everything succeeds, so that the drain comes to its end.
	honest  atomic.Bool
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu sync.Mutex
	// tricked: one of them plays a trick.
	tricked bool
	// tokens is those that were seen of each task, the newest last.
	tokens map[agentTask][]uint64
	// seen is closed when a token was added.
	seen chan struct{}
}

// agentTask is a task of an agent.
type agentTask struct {
	job   uint64
	index uint32
}

// startAgents starts them. They work until close.
func startAgents(env *Env) *agents {
	p := &agents{env: env, tokens: map[agentTask][]uint64{}, seen: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	for n := range agentCount {
		a := &agent{
			pool: p, name: fmt.Sprintf("agent%d", n+1), host: env.Cluster.Clients[n%len(env.Cluster.Clients)],
			random: mathrand.New(mathrand.NewPCG(env.Seed, uint64(10_000+n))),
		}
		p.running.Go(func() { a.run(ctx) })
	}
	return p
}

// close ends them, and waits for their end.
func (p *agents) close() {
	p.cancel()
	p.running.Wait()
}

// claim says whether an agent may play a trick now; done ends it.
func (p *agents) claim() (done func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tricked || p.honest.Load() {
		return nil, false
	}
	p.tricked = true
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.tricked = false
	}), true
}

// saw notes a token of a task.
func (p *agents) saw(t agentTask, token uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.tokens[t]
	if n := len(known); n > 0 && known[n-1] >= token {
		return
	}
	p.tokens[t] = append(known, token)
	close(p.seen)
	p.seen = make(chan struct{})
}

// older is a token of a task below the given one; 0: none is known.
func (p *agents) older(t agentTask, token uint64) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.tokens[t]; len(known) > 0 && known[0] < token {
		return known[0]
	}
	return 0
}

// superseded waits until a newer token of a task was seen, or ctx ends.
func (p *agents) superseded(ctx context.Context, t agentTask, token uint64) {
	for {
		p.mu.Lock()
		known, seen := p.tokens[t], p.seen
		p.mu.Unlock()
		if n := len(known); n > 0 && known[n-1] > token {
			return
		}
		select {
		case <-seen:
		case <-ctx.Done():
			return
		}
	}
}

// agent is one worker identity, whatever processes it has in turn.
type agent struct {
	pool *agents
	name string
	host *network.Host

	mu     sync.Mutex
	random *mathrand.Rand
}

// chance is true once in so many times.
func (a *agent) chance(times int) bool { return a.upTo(int64(times)) == 0 }

func (a *agent) upTo(n int64) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.random.Int64N(n)
}

const (
	// attachPause is the wait before another server is asked.
	attachPause = 30 * time.Millisecond
	// trickEvery is about how long an agent behaves between two tricks.
	trickEvery = 2 * time.Second
)

// run is the life of an agent: one process after the other.
func (a *agent) run(ctx context.Context) {
	p := newProcess(a, 0)
	defer func() { p.end() }()
	for at := 0; ctx.Err() == nil; at++ {
		server := a.pool.env.Cluster.Servers[at%len(a.pool.env.Cluster.Servers)]
		l, err := p.attach(ctx, server)
		if err != nil {
			ticks.Sleep(ctx, attachPause)
			continue
		}
		at-- // who took it is the first to be asked again
		if died := p.serve(ctx, l); died {
			next := newProcess(a, p.session)
			next.proof = p.nonce
			next.late = p.end()
			p = next
		}
	}
}

// process is one process of a worker.
type process struct {
	agent *agent
	nonce []byte
	// replaces is the session of the process before, proof its nonce.
	replaces uint64
	proof    []byte
	// greeted is when it said hello first, on the recorder's clock; 0: it has not.
	greeted int64
	session uint64
	lease   time.Duration
	// stalled: nothing is reported, for what is held is about to be lost.
	stalled atomic.Bool

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu sync.Mutex
	// held is what it has and has not reported, by token; late what it has lost, and
	// reports all the same.
	held map[uint64]*attempt
	late []*attempt
	// line is the stream that it has; attached is closed when it gets one.
	line     *line
	attached chan struct{}
}

// attempt is one task under one token.
type attempt struct {
	agentTask
	number  uint32
	token   uint64
	stopped atomic.Bool
	// lost: its session has ended, or its process is about to lose it.
	lost atomic.Bool
}

func newProcess(a *agent, replaces uint64) *process {
	p := &process{agent: a, nonce: make([]byte, 8), replaces: replaces, held: map[uint64]*attempt{}, attached: make(chan struct{})}
	// It never fails. A seed does not repeat this nonce.
	_, _ = rand.Read(p.nonce)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

func (p *process) name() string { return hex.EncodeToString(p.nonce) }

// end ends the process as a crash would, and returns what it had.
func (p *process) end() []*attempt {
	p.cancel()
	p.work.Wait()
	return p.lose()
}

// lose makes everything that is held lost, and returns it.
func (p *process) lose() []*attempt {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lost []*attempt
	for _, a := range p.held {
		a.lost.Store(true)
		lost = append(lost, a)
	}
	clear(p.held)
	return lost
}

// note records what is no call.
func (a *agent) note(f history.F, value any) {
	a.pool.env.Recorder.Note(history.Observer, f, a.name, value)
}

// serve works on a stream until it ends, and plays tricks meanwhile. died says that this
// process is to be followed by another one.
func (p *process) serve(ctx context.Context, l *line) (died bool) {
	defer l.close()
	stop := context.AfterFunc(ctx, l.close)
	defer stop()
	p.mu.Lock()
	late := p.late
	p.late, p.line = nil, l
	close(p.attached)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.line, p.attached = nil, make(chan struct{})
	}()
	lease := p.lease
	for _, a := range late {
		p.work.Go(func() { p.reportLate(l, a, lease) })
	}
	l.beat()
	beats := time.NewTicker(lease / 6)
	defer beats.Stop()
	trick := time.NewTimer(trickEvery/2 + time.Duration(p.agent.upTo(int64(trickEvery))))
	defer trick.Stop()
	for {
		select {
		case <-l.done:
			return false
		case <-beats.C:
			l.beat()
		case <-trick.C:
			done, ok := p.agent.pool.claim()
			if !ok {
				trick.Reset(trickEvery / 4)
				continue
			}
			switch p.agent.upTo(4) {
			case 0:
				p.meetImpostor(ctx, l.server)
				done()
				trick.Reset(trickEvery)
			case 1:
				p.gather(ctx, l)
				p.agent.pool.release(ctx, done)
				return true
			default:
				p.fallSilent(ctx, l, done)
				return false
			}
		}
	}
}

// release lets others play tricks again, a while after one that takes effect later.
func (p *agents) release(ctx context.Context, done func()) {
	p.running.Go(func() {
		ticks.Sleep(ctx, trickEvery)
		done()
	})
}

// gatherFor is how long a process reports nothing before it vanishes, so that it has
// something to lose.
const gatherFor = 500 * time.Millisecond

// gather takes tasks and reports none, and otherwise behaves well.
func (p *process) gather(ctx context.Context, l *line) {
	p.stalled.Store(true)
	ticks.Sleep(ctx, gatherFor/2)
	l.beat()
	ticks.Sleep(ctx, gatherFor/2)
}

// fallSilent stops beating and reporting, until the server has had enough. What was held is
// reported later, by the next stream.
func (p *process) fallSilent(ctx context.Context, l *line, done func()) {
	p.gather(ctx, l)
	defer p.stalled.Store(false)
	p.agent.note(history.FSilent, history.Silent{Worker: p.agent.name, Session: p.session})
	lost := p.lose()
	patience, cancel := context.WithTimeout(ctx, 4*p.lease)
	defer cancel()
	select {
	case <-l.done:
	case <-patience.Done():
	}
	lost = append(lost, p.lose()...)
	p.mu.Lock()
	p.late = append(p.late, lost...)
	p.mu.Unlock()
	p.agent.pool.release(ctx, done)
}

// reportLate reports an attempt that was lost, if it can just behind the beginning of the
// next one.
func (p *process) reportLate(l *line, a *attempt, lease time.Duration) {
	ctx, cancel := context.WithTimeout(p.ctx, lease)
	defer cancel()
	p.agent.pool.superseded(ctx, a.agentTask, a.token)
	l.report(history.Report{Job: a.job, Index: a.index, Token: a.token, Outcome: outcomeSucceeded, Why: "late"})
}

// meetImpostor lets another process with the same identity say hello.
func (p *process) meetImpostor(ctx context.Context, server *cluster.Server) {
	other := newProcess(p.agent, 0)
	if l, err := other.attach(ctx, server); err == nil {
		l.close()
	}
	other.end()
}
