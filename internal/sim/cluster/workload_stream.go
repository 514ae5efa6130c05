package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
)

// hello is what a worker says when it attaches.
type hello struct {
	term     uint64
	nonce    []byte
	replaces uint64
	// proof is the nonce of the process whose session it replaces.
	proof []byte
	held  []*logpb.Held
}

// welcome is the leader's answer.
type welcome struct {
	session, term uint64
	// attached: to the session that was open already.
	attached bool
	held     map[sim.AttemptKey]struct{}
	stream   *stream
}

// message is what a leader sends to a worker without being asked, about one attempt.
type message struct {
	sim.AttemptKey
	attempt   uint32
	exclusive bool
	// timed: the job has a timeout, so its servers do not rely on a report.
	timed bool
	stop  bool
}

// stream is a worker's session stream, as the server holds it. What is put in reaches the
// worker late and in order; over a broken link, not before it is whole again.
type stream struct {
	r       *Run
	server  *Server
	node    *node.Node
	session uint64
	to      *process
	ctx     context.Context
	close   context.CancelFunc
	// welcomed is closed when the welcome has arrived: nothing arrives before it.
	welcomed chan struct{}

	mu    sync.Mutex
	queue []any // fsm.HeldTask, or a func() that delivers an answer
	wake  chan struct{}
}

// retransmit is how long a message on a stream waits for another attempt.
const retransmit = 200 * time.Millisecond

// serveHello does what the leader does for a worker that attaches.
func (r *Run) serveHello(ctx context.Context, s *Server, n *node.Node, p *process, h hello) (*welcome, error) {
	if err := n.CheckLeader(); err != nil {
		return nil, err
	}
	term, ok := n.Ready()
	if !ok || h.term > term {
		return nil, task.Errorf(task.KindUnavailable, "there is a newer leader")
	}
	w := &welcome{term: term, held: map[sim.AttemptKey]struct{}{}}
	if open, ok := n.State().Machine().SessionOf(p.w.id); ok && string(open.Nonce) == string(h.nonce) {
		w.session, w.attached = open.Id, true
	} else {
		res, err := n.Propose(ctx, &logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{
			Session:  &logpb.Session{Worker: p.w.id, Name: p.w.id, Nonce: h.nonce, Slots: p.w.slots, Handlers: []string{"work"}},
			Replaces: h.replaces, ReplacesNonce: h.proof, Held: h.held,
		}}})
		if err != nil {
			return nil, err
		}
		w.session, w.attached = res.Session, res.Existed
	}
	st := &stream{r: r, server: s, node: n, session: w.session, to: p, wake: make(chan struct{}, 1), welcomed: make(chan struct{})}
	st.ctx, st.close = context.WithCancel(n.Context())
	if !n.Fleet().Attach(w.session, st) {
		st.close()
		return nil, task.Errorf(task.KindUnavailable, "no longer the leader")
	}
	open := n.State().Machine().Held(w.session, func(t fsm.HeldTask) {
		for i := t.First; i < t.First+t.Count; i++ {
			w.held[sim.KeyAt(t.Grant.Job, i, t.Grant.TokenOffset)] = struct{}{}
		}
		st.put(t)
	})
	if !open {
		st.close()
		n.Fleet().Detach(w.session, st)
		return nil, task.Errorf(task.KindUnavailable, "the session has ended meanwhile")
	}
	w.stream = st
	r.c.calls.Go(st.pump)
	return w, nil
}

// Grant implements scheduler.Stream.
func (s *stream) Grant(g fsm.Grant) { s.put(fsm.HeldTask{Grant: g}) }

// Stop implements scheduler.Stream.
func (s *stream) Stop(job uint64, index uint32, tokenOffset int64) {
	s.put(fsm.HeldTask{Grant: fsm.Grant{Job: job, First: index, Count: 1, TokenOffset: tokenOffset}, Stopping: true})
}

// End implements scheduler.Stream.
func (s *stream) End(bool) { s.close() }

func (s *stream) put(m any) {
	s.mu.Lock()
	s.queue = append(s.queue, m)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// pump delivers what is put in until the stream ends.
func (s *stream) pump() {
	defer s.node.Fleet().Detach(s.session, s)
	defer s.close()
	select {
	case <-s.welcomed:
	case <-s.ctx.Done():
		return
	case <-s.r.ctx.Done():
		return
	}
	for {
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return
		case <-s.r.ctx.Done():
			return
		}
		s.mu.Lock()
		queue := s.queue
		s.queue = nil
		s.mu.Unlock()
		// What a message says of a job is what the server knows as it sends it.
		arrive := make([]func(), len(queue))
		for i, q := range queue {
			switch q := q.(type) {
			case fsm.HeldTask:
				messages := s.expand(nil, q)
				arrive[i] = func() { s.to.receive(s, messages) }
			case func():
				arrive[i] = q
			}
		}
		for s.r.c.Net.carry(s.ctx, s.server.Name, s.to.w.id) != nil {
			if sleep(s.ctx, retransmit) != nil {
				return
			}
		}
		for _, f := range arrive {
			f()
		}
	}
}

// answer is that to a report.
type answer struct {
	res fsm.Result
	err error
}

// report proposes a report on a batch of attempts. The answer goes into the stream after everything that was put in
// before.
func (s *stream) report(op *logpb.Report, batch []*attempt) <-chan answer {
	got := make(chan answer, 1)
	s.node.ProposeAsync(&logpb.Op{Op: &logpb.Op_Report{Report: op}}, func(res fsm.Result, err error) {
		s.put(func() {
			if err == nil {
				s.to.forget(s, batch)
			}
			got <- answer{res, err}
		})
	})
	return got
}

// expand makes a message for each task.
func (s *stream) expand(out []message, t fsm.HeldTask) []message {
	ref, ok := s.node.State().Machine().SpecOf(t.Job)
	if !ok {
		return out // the job has ended meanwhile
	}
	for i := t.First; i < t.First+t.Count; i++ {
		m := message{AttemptKey: sim.KeyAt(t.Grant.Job, i, t.Grant.TokenOffset), attempt: t.Attempt, exclusive: ref.Spec.Exclusive(), timed: ref.Spec.Timeout > 0}
		if t.Attempt > 0 {
			out = append(out, m)
		}
		if t.Stopping {
			m.stop = true
			out = append(out, m)
		}
	}
	return out
}
