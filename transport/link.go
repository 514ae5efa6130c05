package transport

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// assignBytes is about how large a message of assignments is.
	assignBytes = 256 << 10
	// assignTasks bounds the payloads that are fetched at once.
	assignTasks = 256
	// workCache is how many jobs' specs a link keeps at hand.
	workCache = 64
)

// link is the way to a connected worker: what is to be sent waits here, so that the
// state machine, which puts it in, never waits. It is bounded by what a session may hold.
type link struct {
	s             *Server
	session, term uint64
	stream        sessionStream
	cancel        context.CancelFunc
	// leaving: its worker has said goodbye.
	leaving atomic.Bool

	// room is what of its reports may be unanswered.
	room *room

	mu sync.Mutex
	// renewed: beat, the newest, is to be answered. It goes first, answers last: see send.
	renewed  bool
	beat     uint64
	grants   []fsm.Grant
	stops    []*rotav1.HeldTasks
	answers  []queuedAnswer
	finished bool
	// waiting is a beat that waits for a Barrier, confirming that somebody asks for one.
	waiting    *heartbeat
	confirming bool
	wake       chan struct{}

	work map[fsm.SpecID]linkWork
}

// queuedAnswer is an answer, and what it frees when it is sent.
type queuedAnswer struct {
	message *rotav1.SessionResponse
	frees   cost
}

func newLink(s *Server, session, term uint64, stream sessionStream, cancel context.CancelFunc) *link {
	return &link{
		s: s, session: session, term: term, stream: stream, cancel: cancel, wake: make(chan struct{}, 1), work: map[fsm.SpecID]linkWork{},
		room: newRoom(cost{maxUnansweredReports, maxUnansweredTasks, maxUnansweredBytes}),
	}
}

// linkWork is what a worker must know of jobs of one spec, and the values of their tasks.
type linkWork struct {
	spec   *rotav1.WorkSpec
	values []task.ValueRun
}

// Grant implements scheduler.Stream.
func (l *link) Grant(g fsm.Grant) {
	l.mu.Lock()
	l.grants = append(l.grants, g)
	l.mu.Unlock()
	l.signal()
}

// Stop implements scheduler.Stream.
func (l *link) Stop(job uint64, index uint32, tokenOffset int64) {
	l.mu.Lock()
	if n := len(l.stops); n > 0 && l.stops[n-1].JobId == job && l.stops[n-1].TokenOffset == tokenOffset {
		appendIndex(&l.stops[n-1].Ranges, index)
	} else {
		l.stops = append(l.stops, heldOf(job, tokenOffset, index, 1))
	}
	l.mu.Unlock()
	l.signal()
}

func appendIndex(ranges *[]*rotav1.IndexRange, i uint32) {
	if n := len(*ranges); n > 0 && (*ranges)[n-1].First+(*ranges)[n-1].Count == i {
		(*ranges)[n-1].Count++
		return
	}
	*ranges = append(*ranges, &rotav1.IndexRange{First: i, Count: 1})
}

// End implements scheduler.Stream.
func (l *link) End(sessionClosed bool) {
	if sessionClosed {
		l.outlived()
	} else {
		l.cancel()
	}
}

// outlived ends the stream because its session has ended, unless its worker has said
// goodbye: then it stays open until that is answered.
func (l *link) outlived() {
	if !l.leaving.Load() {
		l.cancel()
	}
}

// answer queues an answer, which comes behind all grants that were put in before. When it is
// sent, there is room again.
func (l *link) answer(m *rotav1.SessionResponse, frees cost) {
	l.mu.Lock()
	l.answers = append(l.answers, queuedAnswer{m, frees})
	l.mu.Unlock()
	l.signal()
}

// finish lets send return when all that waits has gone out.
func (l *link) finish() {
	l.mu.Lock()
	l.finished = true
	l.mu.Unlock()
	l.signal()
}

func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// send sends what is put in until ctx ends or all is sent after finish. The order is that of
// what may not overtake what: a task may be granted and stopped in one breath, and a worker
// forgets a task when its report is answered, so that it would run it again if a grant of it,
// put in before when the worker attached, came behind.
func (l *link) send(ctx context.Context) error {
	for {
		l.mu.Lock()
		renewed, beat, grants, stops, answers, finished := l.renewed, l.beat, l.grants, l.stops, l.answers, l.finished
		l.renewed, l.grants, l.stops, l.answers = false, nil, nil, nil
		l.mu.Unlock()
		if renewed {
			if err := l.answerBeat(beat); err != nil {
				return err
			}
		}
		if err := l.sendGrants(grants); err != nil {
			return err
		}
		if len(stops) > 0 {
			m := &rotav1.SessionResponse{Message: &rotav1.SessionResponse_Stop{Stop: &rotav1.Stop{Tasks: stops}}}
			if err := l.stream.Send(m); err != nil {
				return err
			}
		}
		if err := l.sendAll(answers); err != nil {
			return err
		}
		if finished {
			return nil
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return l.s.sessionEnded(ctx)
		}
	}
}

func (l *link) sendAll(answers []queuedAnswer) error {
	for _, a := range answers {
		if err := l.stream.Send(a.message); err != nil {
			return err
		}
		l.room.free(a.frees)
	}
	return nil
}

// sessionEnded is why a session's stream ends before its worker wants it to.
func (s *Server) sessionEnded(ctx context.Context) error {
	if err := s.node.CheckLeader(); err != nil {
		return err
	}
	if s.stopping.Err() != nil {
		return s.ended(ctx)
	}
	return task.Errorf(task.KindUnavailable, "the session's stream was ended; attach again")
}

// sendGrants sends grants with their payloads, many in a message.
func (l *link) sendGrants(grants []fsm.Grant) error {
	var batch []*rotav1.Assignment
	size := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		m := &rotav1.SessionResponse{Message: &rotav1.SessionResponse_Assignments{Assignments: &rotav1.Assignments{Assignments: batch}}}
		batch, size = nil, 0
		return l.stream.Send(m)
	}
	for _, g := range grants {
		ref, ok := l.s.node.State().Machine().SpecOf(g.Job)
		if !ok {
			continue // it has ended meanwhile: the grant is void
		}
		work, err := l.workOf(g.Job, ref)
		if errors.Is(err, task.ErrNotFound) {
			continue // likewise
		}
		if err != nil {
			return err
		}
		for g.Count > 0 {
			a := &rotav1.Assignment{JobId: g.Job, TokenOffset: g.TokenOffset, Attempt: g.Attempt, Work: work.spec}
			n := g.Count
			if len(work.values) > 0 {
				a.Work, n = withValues(a.Work, work.values, g.First, n)
			}
			if ref.OwnPayloads {
				packed, taken, err := l.payloads(g.Job, g.First, n)
				if err != nil {
					return err
				}
				a.PackedPayloads, n = packed, taken
			}
			a.Range = &rotav1.IndexRange{First: g.First, Count: n}
			g.First, g.Count = g.First+n, g.Count-n
			batch = append(batch, a)
			size += len(a.PackedPayloads) + len(a.Work.SharedPayload) + 128
			if size >= assignBytes {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}

// payloads fetches the payloads of up to count tasks: as many as fit a message.
func (l *link) payloads(job uint64, first, count uint32) (packed []byte, n uint32, err error) {
	n = min(count, assignTasks)
	for {
		packed, err = l.s.node.State().Payloads(job, first, n)
		if err != nil || n == 1 || len(packed) <= 4*assignBytes {
			return packed, n, err
		}
		n /= 2
	}
}

// workOf is what a worker must know of a job, made once for each spec.
func (l *link) workOf(job uint64, ref fsm.JobSpec) (linkWork, error) {
	if w, ok := l.work[ref.ID]; ok {
		return w, nil
	}
	spec, err := l.s.node.State().WholeSpec(job, ref)
	if err != nil {
		return linkWork{}, err
	}
	if len(l.work) >= workCache {
		clear(l.work)
	}
	w := linkWork{workSpecOf(spec), spec.Values}
	l.work[ref.ID] = w
	return w, nil
}

func workSpecOf(s *task.Spec) *rotav1.WorkSpec {
	p := wire.SpecToProto(s)
	w := &rotav1.WorkSpec{
		Exclusive: s.Exclusive(), SharedPayload: s.SharedPayload,
		JobName: s.Name, Queue: s.Queue,
	}
	if s.Timeout > 0 {
		w.Timeout = durationpb.New(s.Timeout)
	}
	switch work := p.Work.(type) {
	case *rotav1.JobSpec_Handler:
		w.Work = &rotav1.WorkSpec_Handler{Handler: work.Handler}
	case *rotav1.JobSpec_Command:
		w.Work = &rotav1.WorkSpec_Command{Command: work.Command}
	}
	return w
}

// withValues returns work with the values of tasks from first on, and how many of count
// tasks they are for: a run of values is an arithmetic progression of the index.
func withValues(work *rotav1.WorkSpec, runs []task.ValueRun, first, count uint32) (*rotav1.WorkSpec, uint32) {
	begin := uint32(0)
	for _, r := range runs {
		if first < begin+r.Count {
			out := proto.CloneOf(work)
			// Wraps around, and back again when the worker adds the index.
			out.ArrayFirst, out.ArrayStep = r.First-begin*r.Step, r.Step
			return out, min(count, begin+r.Count-first)
		}
		begin += r.Count
	}
	return work, count
}
