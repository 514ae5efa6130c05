package transport

import (
	"context"
	"sync"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// logRead is a read of the log of an attempt, on the stream of its worker.
type logRead struct {
	on      *logStream
	request *rotav1.LogRead

	mu sync.Mutex
	// asked: the worker was asked. credit is what it is to be given, dropped: nobody wants more of it.
	asked, dropped bool
	credit         int
	// owed is how much the worker may still send.
	owed int
	// got is what has come and was not taken yet; over: nothing more comes, for reason.
	got    []*rotav1.LogData
	over   bool
	reason rotav1.LogEndReason
	wake   chan struct{}
}

// read begins a read.
func (l *logStream) read(m *rotav1.LogRead) (*logRead, error) {
	if !l.all.mayRead() {
		return nil, task.Errorf(task.KindExhausted, "this server reads %d logs, its limit: ask another one, or try again later", maxLogReads)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ended:
		l.all.haveRead()
		return nil, task.Errorf(task.KindUnavailable, "the worker has ended its stream of logs")
	case len(l.reads) >= maxStreamReads:
		l.all.haveRead()
		return nil, task.Errorf(task.KindExhausted, "the logs of this worker have %d readers here, the limit: ask another server, or try again later", maxStreamReads)
	}
	l.last++
	m.Id, m.Credit = l.last, logCredit
	r := &logRead{on: l, request: m, owed: logCredit, wake: make(chan struct{}, 1)}
	l.reads[m.Id] = r
	l.quiet = time.Time{}
	l.tell(r)
	return r, nil
}

// mayRead takes a place among the reads of the server; false: there is none. haveRead gives it back.
func (a *logStreams) mayRead() bool {
	if a.reads.Add(1) > maxLogReads {
		a.reads.Add(-1)
		return false
	}
	return true
}

func (a *logStreams) haveRead() { a.reads.Add(-1) }

// tell has the worker told what there is to say of a read. mu is held.
func (l *logStream) tell(r *logRead) {
	l.dirty = append(l.dirty, r)
	wake(l.wake)
}

// close ends a read. It is to be called once for each.
func (r *logRead) close() {
	l := r.on
	l.all.haveRead()
	l.mu.Lock()
	defer l.mu.Unlock()
	r.mu.Lock()
	r.dropped = true
	over := r.over
	r.got = nil
	r.mu.Unlock()
	delete(l.reads, r.request.Id)
	if len(l.reads) == 0 {
		l.quiet = time.Now()
	}
	if !over && !l.ended {
		l.tell(r)
	}
}

// next returns the next message of a read, for which it waits; nil: there is no more, for reason.
func (r *logRead) next(ctx context.Context) (m *rotav1.LogData, reason rotav1.LogEndReason, err error) {
	for {
		r.mu.Lock()
		if len(r.got) > 0 {
			m, r.got = r.got[0], r.got[1:]
			r.mu.Unlock()
			r.took(wire.LogCost(m))
			return m, 0, nil
		}
		over, reason := r.over, r.reason
		r.mu.Unlock()
		if over {
			return nil, reason, nil
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// took gives the worker credit for what was taken, half of all credit at a time.
func (r *logRead) took(bytes int) {
	r.on.mu.Lock()
	defer r.on.mu.Unlock()
	r.mu.Lock()
	r.credit += bytes
	enough := r.credit >= logCredit/2 && r.asked
	r.mu.Unlock()
	if enough && !r.on.ended {
		r.on.tell(r)
	}
}

// finish says that nothing more comes of a read.
func (r *logRead) finish(reason rotav1.LogEndReason) {
	r.mu.Lock()
	r.over, r.reason = true, reason
	r.mu.Unlock()
	wake(r.wake)
}

// receive takes what the worker sends until the stream ends.
func (l *logStream) receive() error {
	for {
		m, err := l.stream.Recv()
		if err != nil {
			return err
		}
		switch m := m.GetMessage().(type) {
		case *rotav1.LogsRequest_Data:
			err = l.received(m.Data)
		case *rotav1.LogsRequest_End:
			if r := l.readOf(m.End.GetId()); r != nil {
				r.finish(m.End.GetReason())
			}
		default:
			err = task.Errorf(task.KindInvalid, "unexpected message in a stream of logs")
		}
		if err != nil {
			return err
		}
	}
}

func (l *logStream) readOf(id uint64) *logRead {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads[id]
}

// received takes a piece of a log. A read that was closed may still have some on its way.
func (l *logStream) received(m *rotav1.LogData) error {
	if len(m.GetData()) > wire.MaxLogData {
		return task.Errorf(task.KindTooLarge, "a message with %d bytes of a log, the limit is %d", len(m.GetData()), wire.MaxLogData)
	}
	r := l.readOf(m.GetId())
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// The head of the last message may be beyond the credit.
	if r.owed <= 0 || r.over {
		return task.Errorf(task.KindInvalid, "the worker sends more of a log than it was asked for")
	}
	r.owed -= wire.LogCost(m)
	r.got = append(r.got, m)
	wake(r.wake)
	return nil
}

// send tells the worker what it has to know, until ctx ends, or nobody has read anything for long.
func (l *logStream) send(ctx context.Context) error {
	if err := l.stream.Send(&rotav1.LogsResponse{Message: &rotav1.LogsResponse_Welcome{Welcome: &rotav1.LogsWelcome{}}}); err != nil {
		return err
	}
	idle := time.NewTicker(idleLogs / 4)
	defer idle.Stop()
	for {
		for _, m := range l.messages() {
			if err := l.stream.Send(m); err != nil {
				return err
			}
		}
		select {
		case <-l.wake:
		case <-idle.C:
			if l.isIdle() {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// isIdle says whether nobody reads for long. Then nobody can begin to.
func (l *logStream) isIdle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = l.ended || !l.quiet.IsZero() && time.Since(l.quiet) > idleLogs
	return l.ended
}

func (l *logStream) isEnded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// messages is what the worker has to be told now.
func (l *logStream) messages() (out []*rotav1.LogsResponse) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.dirty {
		if m := r.message(); m != nil {
			out = append(out, m)
		}
	}
	l.dirty = nil
	return out
}

// message is what the worker has to be told of a read; nil: nothing.
func (r *logRead) message() *rotav1.LogsResponse {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.dropped && !r.asked:
		return nil
	case r.dropped:
		return &rotav1.LogsResponse{Message: &rotav1.LogsResponse_Drop{Drop: &rotav1.LogDrop{Id: r.request.Id}}}
	case !r.asked:
		r.asked = true
		return &rotav1.LogsResponse{Message: &rotav1.LogsResponse_Read{Read: r.request}}
	case r.credit > 0:
		bytes := r.credit
		r.credit = 0
		r.owed += bytes
		return &rotav1.LogsResponse{Message: &rotav1.LogsResponse_Credit{Credit: &rotav1.LogCredit{Id: r.request.Id, Bytes: uint32(bytes)}}}
	}
	return nil
}

// wake has the one who waits on c look again.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
