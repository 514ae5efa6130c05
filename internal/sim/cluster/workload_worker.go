package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/scheduler"
	"github.com/rota-scheduler/rota/task"
)

// worker is a worker over all its lives.
type worker struct {
	r      *Run
	id     string
	slots  uint32
	random *rand.Rand

	mu sync.Mutex
	// session is the last one that it opened, kept on its disk.
	session uint64
	nonce   []byte
	lives   int
	proc    *process
	// gate is open (closed, as a channel) unless the worker is paused.
	gate chan struct{}
}

func newWorker(r *Run, id string) *worker {
	w := &worker{r: r, id: id, random: r.random(id), gate: make(chan struct{})}
	w.slots = uint32(2 + w.random.IntN(4))
	close(w.gate)
	return w
}

// start begins a life of the worker, unless it lives.
func (w *worker) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.proc != nil {
		return
	}
	w.lives++
	p := &process{
		w: w, nonce: []byte{byte(w.lives >> 8), byte(w.lives)}, random: w.r.random(w.id + string(rune(w.lives))),
		attempts: map[sim.AttemptKey]*attempt{}, answered: map[sim.AttemptKey]struct{}{}, changed: make(chan struct{}, 1),
	}
	p.ctx, p.kill = context.WithCancel(w.r.ctx)
	w.proc = p
	w.r.wg.Go(p.run)
}

// die ends the worker and all that it runs. forget takes its disk as well: then it has to
// wait for its own lease.
func (w *worker) die(forget bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.proc != nil {
		w.proc.kill()
		w.proc = nil
	}
	if forget {
		w.session = 0
	}
}

// pause stops the worker's agent. What it runs goes on, until its guard ends it.
func (w *worker) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.gate:
		w.gate = make(chan struct{})
	default:
	}
}

func (w *worker) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.gate:
	default:
		close(w.gate)
	}
}

// pass waits while the worker is paused.
func (w *worker) pass(ctx context.Context) bool {
	w.mu.Lock()
	gate := w.gate
	w.mu.Unlock()
	select {
	case <-gate:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func (w *worker) describe() string {
	w.mu.Lock()
	p := w.proc
	w.mu.Unlock()
	if p == nil {
		return w.id + " is dead"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	states := map[attemptState]int{}
	for _, a := range p.order {
		states[a.state]++
	}
	return fmt.Sprintf("%s: session %d, term %d, %d running, waiting, running and done %v", w.id, p.session, p.term, p.running, states)
}

func (w *worker) lastSession() (session uint64, nonce []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.session, w.nonce
}

func (w *worker) opened(p *process, session uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.proc == p {
		w.session, w.nonce = session, p.nonce
	}
}

// process is one life of a worker.
type process struct {
	w      *worker
	nonce  []byte
	random *rand.Rand // of the goroutine that attaches
	ctx    context.Context
	kill   context.CancelFunc

	mu       sync.Mutex
	session  uint64
	term     uint64
	stream   *stream
	renewed  time.Time // when the newest answered beat was sent
	attempts map[sim.AttemptKey]*attempt
	order    []*attempt
	running  uint32
	// answered is attempts whose reports were answered: they must not come again.
	answered map[sim.AttemptKey]struct{}
	// changed says that there may be something to report or to start.
	changed chan struct{}
}

// attempt is one attempt at one task, from its grant until its report is answered.
type attempt struct {
	message
	state   attemptState
	outcome task.Outcome
	stopped chan struct{}
}

type attemptState int

const (
	waiting attemptState = iota
	runs
	done
	// mute: it is over, and is never reported.
	mute
)

// run attaches to one leader after the other.
func (p *process) run() {
	hint := ""
	for failures := 0; p.w.pass(p.ctx); failures++ {
		s := p.w.r.c.server(hint)
		hint = ""
		if s == nil {
			s = p.w.r.c.Servers[p.random.IntN(len(p.w.r.c.Servers))]
		}
		st, err := p.attach(s)
		if err == nil {
			failures = 0
			p.serve(st)
			continue
		}
		var e *task.Error
		if errors.As(err, &e) && e.Leader != s.Name {
			hint = e.Leader
		}
		_ = sleep(p.ctx, min(500*time.Millisecond, 10*time.Millisecond<<min(failures, 6)))
	}
}

// attach says hello to a server and takes over what it answers.
func (p *process) attach(s *Server) (*stream, error) {
	p.mu.Lock()
	h := hello{term: p.term, nonce: p.nonce, replaces: p.session, proof: p.nonce}
	for _, a := range p.order {
		h.held = append(h.held, &logpb.Held{
			Job: a.Job, TokenOffset: a.Offset(), Ranges: []*logpb.Range{{First: a.Index, Count: 1}},
		})
	}
	p.mu.Unlock()
	if h.replaces == 0 {
		h.replaces, h.proof = p.w.lastSession()
	}
	sent := time.Now()
	w, err := Call(p.w.r.c, p.w.id, s, callTimeout, func(ctx context.Context, n *node.Node) (*welcome, error) {
		return p.w.r.serveHello(ctx, s, n, p, h)
	})
	if err != nil {
		return nil, err
	}
	if !p.w.pass(p.ctx) {
		return nil, p.ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.term < p.term {
		return nil, task.Errorf(task.KindUnavailable, "an old leader")
	}
	p.term, p.session = w.term, w.session
	p.w.opened(p, w.session)
	if !w.attached {
		p.renewed = later(p.renewed, sent)
	}
	for _, a := range p.order {
		// What has ended is reported all the same: the report will be refused.
		if _, held := w.held[a.AttemptKey]; !held && a.state != done {
			a.stop = true
			p.end(a)
		}
	}
	p.stream = w.stream
	close(w.stream.welcomed)
	return w.stream, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// serve beats and reports on a stream until it breaks or ends.
func (p *process) serve(st *stream) {
	ctx, broken := context.WithCancel(p.ctx)
	defer context.AfterFunc(st.ctx, broken)()
	var wg sync.WaitGroup
	wg.Go(func() { p.beats(ctx, st, broken) })
	wg.Go(func() { p.reports(ctx, st, broken) })
	wg.Wait()
	broken()
	p.mu.Lock()
	p.stream = nil
	p.mu.Unlock()
	// A connection that is only half closed stays a stream for its server.
	if p.random.IntN(2) == 0 {
		st.close()
	}
}

// beatAnswer is what becomes of a beat. One of a session that is shunned renews nothing, and its stream stays
// for its reports.
type beatAnswer struct{ renewed, shunned bool }

// beats renews the lease: more often while it holds tasks that must not overlap.
func (p *process) beats(ctx context.Context, st *stream, broken func()) {
	defer broken()
	for p.w.pass(ctx) {
		sent := time.Now()
		exclusive := p.holdsExclusive()
		// A beat that is not answered in time breaks the stream.
		answer, err := Call(p.w.r.c, p.w.id, st.server, lease/3, func(ctx context.Context, n *node.Node) (beatAnswer, error) {
			if exclusive {
				if err := n.Barrier(ctx); err != nil {
					return beatAnswer{}, err
				}
			}
			renewed := n.Fleet().Beat(st.session, st, []scheduler.Running{})
			return beatAnswer{renewed, !renewed && n.Fleet().Shunned(st.session)}, nil
		})
		if err != nil || !answer.renewed && !answer.shunned || !p.w.pass(ctx) {
			return
		}
		if answer.renewed {
			p.mu.Lock()
			p.renewed = later(p.renewed, sent)
			p.mu.Unlock()
			p.signal()
		}
		every := lease / 3
		if exclusive {
			every = lease / 10
		}
		_ = sleep(ctx, every)
	}
}

func (p *process) holdsExclusive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.order {
		if a.exclusive {
			return true
		}
	}
	return false
}

func (p *process) signal() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// receive takes what the leader sends, unless it comes from a stream that was given up.
func (p *process) receive(from *stream, messages []message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil || p.stream != from {
		return
	}
	for _, m := range messages {
		a := p.attempts[m.AttemptKey]
		switch {
		case a == nil && !m.stop:
			if _, again := p.answered[m.AttemptKey]; again {
				p.w.r.history.problem("%s was sent task %v under token %d after its report had been answered", p.w.id, m.ID, m.Token)
			}
			p.w.r.history.sent(m.AttemptKey)
			a = &attempt{message: m, stopped: make(chan struct{})}
			p.attempts[m.AttemptKey] = a
			p.order = append(p.order, a)
		case a != nil && m.stop && !a.stop:
			a.stop = true
			p.end(a)
		}
	}
	p.startMore()
}

// end asks for the end of an attempt. p.mu is held.
func (p *process) end(a *attempt) {
	switch a.state {
	case waiting:
		p.finish(a, task.OutcomeReturned)
	case runs:
		close(a.stopped)
	}
}

// finish makes an attempt ready to be reported. p.mu is held.
func (p *process) finish(a *attempt, o task.Outcome) {
	a.state, a.outcome = done, o
	p.signal()
}

// startMore starts what waits, as far as there are slots. p.mu is held.
func (p *process) startMore() {
	for _, a := range p.order {
		if p.running >= p.w.slots {
			return
		}
		if a.state != waiting || a.exclusive && time.Since(p.renewed) > 6*lease/10 {
			continue
		}
		a.state = runs
		p.running++
		p.w.r.c.calls.Go(func() { p.execute(a) })
	}
}
