package transport

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// sendStream is the way to a connected worker. Messages wait here until they are sent, so that the state
// machine, which puts them in, never waits. What a session may hold bounds them.
type sendStream struct {
	server        *Server
	session, term uint64
	stream        sessionStream
	cancel        context.CancelFunc
	// leaving: the worker has said goodbye.
	leaving atomic.Bool

	// room bounds the reports that are not answered yet; holding counts the memory that they take.
	room    *room
	holding *wire.Holding

	mu sync.Mutex
	// renewed: beat, the newest one, waits for its answer, and the oldest such beat has waited since waits.
	// The answer to a beat is sent first, other answers last: see send.
	renewed bool
	beat    uint64
	waits   time.Time
	grants  []fsm.Grant
	stops   []*rotav1.HeldTasks
	// calls is the servers to which the worker is asked to send logs. logs: it does.
	calls    []string
	logs     bool
	answers  []queuedAnswer
	finished bool
	// waiting is a beat that waits for a Barrier; confirming: somebody asks for one.
	waiting    *heartbeat
	confirming bool
	wake       chan struct{}

	// stopsTold is when an answer to a beat last listed what the worker must stop. Only send uses it.
	stopsTold time.Time

	// handling is locked while a message of the worker is being handled.
	handling sync.Mutex

	// works is the works of jobs that the worker keeps. Only send uses it.
	works works
}

// queuedAnswer is an answer, and what it frees when it is sent.
type queuedAnswer struct {
	message *rotav1.SessionResponse
	frees   cost
}

func newSendStream(s *Server, session, term uint64, hello *rotav1.Hello, stream sessionStream, cancel context.CancelFunc) *sendStream {
	return &sendStream{
		server: s, logs: hello.GetLogs(), session: session, term: term, stream: stream, cancel: cancel, wake: make(chan struct{}, 1), works: newWorks(hello),
		room: newRoom(cost{maxUnansweredReports, maxUnansweredTasks, maxUnansweredBytes}), holding: &wire.Holding{},
	}
}

// Grant implements scheduler.Stream.
func (out *sendStream) Grant(g fsm.Grant) {
	out.mu.Lock()
	out.grants = append(out.grants, g)
	out.mu.Unlock()
	out.signal()
}

// Stop implements scheduler.Stream.
func (out *sendStream) Stop(job uint64, index uint32, tokenOffset int64) {
	out.mu.Lock()
	if n := len(out.stops); n > 0 && out.stops[n-1].JobId == job && out.stops[n-1].TokenOffset == tokenOffset {
		appendIndex(&out.stops[n-1].Ranges, index)
	} else {
		out.stops = append(out.stops, heldOf(job, tokenOffset, task.Range{First: index, Count: 1}))
	}
	out.mu.Unlock()
	out.signal()
}

// callLogs asks the worker to open a stream of logs to a server.
func (out *sendStream) callLogs(addr string) {
	out.mu.Lock()
	if !slices.Contains(out.calls, addr) && len(out.calls) < task.MaxServers {
		out.calls = append(out.calls, addr)
	}
	out.mu.Unlock()
	out.signal()
}

// sendCalls sends the calls that wait.
func (out *sendStream) sendCalls(calls []string) error {
	for _, addr := range calls {
		m := &rotav1.SessionResponse{Message: &rotav1.SessionResponse_CallLogs{CallLogs: &rotav1.CallLogs{Addr: addr}}}
		if err := out.stream.Send(m); err != nil {
			return err
		}
	}
	return nil
}

func appendIndex(ranges *[]*rotav1.IndexRange, i uint32) {
	if n := len(*ranges); n > 0 && (*ranges)[n-1].First+(*ranges)[n-1].Count == i {
		(*ranges)[n-1].Count++
		return
	}
	*ranges = append(*ranges, &rotav1.IndexRange{First: i, Count: 1})
}

// End implements scheduler.Stream.
func (out *sendStream) End(sessionClosed bool) {
	if sessionClosed {
		out.outlived()
	} else {
		out.cancel()
	}
}

// outlived ends the stream because its session has ended, unless its worker has said
// goodbye: then it stays open until that is answered.
func (out *sendStream) outlived() {
	if !out.leaving.Load() {
		out.cancel()
	}
}

// answer queues an answer. It is sent after all grants that were put in before it, and then frees its room.
func (out *sendStream) answer(m *rotav1.SessionResponse, frees cost) {
	out.mu.Lock()
	out.answers = append(out.answers, queuedAnswer{m, frees})
	out.mu.Unlock()
	out.signal()
}

// finish lets send return once everything that waits is sent.
func (out *sendStream) finish() {
	out.mu.Lock()
	out.finished = true
	out.mu.Unlock()
	out.signal()
}

func (out *sendStream) signal() {
	select {
	case out.wake <- struct{}{}:
	default:
	}
}

// send sends what is put in, until ctx ends, or until all is sent after finish. Grants go before stops, because a
// task may be granted and stopped at the same time. They go before answers, because a worker forgets a task when its
// report is answered: a grant from when the worker attached, sent after that, would make it run the task again.
func (out *sendStream) send(ctx context.Context) error {
	for {
		out.mu.Lock()
		renewed, beat, grants, stops, calls, answers, finished := out.renewed, out.beat, out.grants, out.stops, out.calls, out.answers, out.finished
		out.renewed, out.grants, out.stops, out.calls, out.answers = false, nil, nil, nil, nil
		out.mu.Unlock()
		if renewed {
			if err := out.answerBeat(beat); err != nil {
				return err
			}
		}
		if err := out.sendGrants(grants); err != nil {
			return err
		}
		if len(stops) > 0 {
			m := &rotav1.SessionResponse{Message: &rotav1.SessionResponse_Stop{Stop: &rotav1.Stop{Tasks: stops}}}
			if err := out.stream.Send(m); err != nil {
				return err
			}
		}
		if err := out.sendCalls(calls); err != nil {
			return err
		}
		if err := out.sendAll(answers); err != nil {
			return err
		}
		if finished {
			return nil
		}
		select {
		case <-out.wake:
		case <-ctx.Done():
			return out.server.sessionEnded(ctx)
		}
	}
}

func (out *sendStream) sendAll(answers []queuedAnswer) error {
	for _, a := range answers {
		if err := out.stream.Send(a.message); err != nil {
			return err
		}
		out.room.free(a.frees)
		out.holding.Give(int64(a.frees.bytes))
	}
	return nil
}

// sessionEnded is why the stream of a session ends before its worker wants it to.
func (s *Server) sessionEnded(ctx context.Context) error {
	if err := s.node.CheckLeader(); err != nil {
		return err
	}
	if s.stopping.Err() != nil {
		return s.ended(ctx)
	}
	return task.Errorf(task.KindUnavailable, "the session's stream was ended; attach again")
}
