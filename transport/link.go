package transport

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
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

	// room is what of its reports may be unanswered, holding what they take meanwhile.
	room    *room
	holding *wire.Holding

	mu sync.Mutex
	// renewed: beat, the newest, is to be answered, the oldest of those that are since waits. It goes
	// first, answers last: see send.
	renewed  bool
	beat     uint64
	waits    time.Time
	grants   []fsm.Grant
	stops    []*rotav1.HeldTasks
	answers  []queuedAnswer
	finished bool
	// waiting is a beat that waits for a Barrier, confirming that somebody asks for one.
	waiting    *heartbeat
	confirming bool
	wake       chan struct{}

	// stopsTold is when the answer to a beat had what its worker must stop. Only send looks at it.
	stopsTold time.Time

	// handling is locked while a message of the worker is being handled.
	handling sync.Mutex

	// works is what of jobs' works the worker has. Only send looks at it.
	works works
}

// queuedAnswer is an answer, and what it frees when it is sent.
type queuedAnswer struct {
	message *rotav1.SessionResponse
	frees   cost
}

func newLink(s *Server, session, term uint64, hello *rotav1.Hello, stream sessionStream, cancel context.CancelFunc) *link {
	return &link{
		s: s, session: session, term: term, stream: stream, cancel: cancel, wake: make(chan struct{}, 1), works: newWorks(hello),
		room: newRoom(cost{maxUnansweredReports, maxUnansweredTasks, maxUnansweredBytes}), holding: &wire.Holding{},
	}
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
		l.stops = append(l.stops, heldOf(job, tokenOffset, task.Range{First: index, Count: 1}))
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
		l.holding.Give(int64(a.frees.bytes))
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
