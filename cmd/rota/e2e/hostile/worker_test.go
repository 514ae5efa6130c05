package hostile

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

// line is the stream of a hostile worker to the leader.
type line struct {
	rotav1.WorkerService_SessionClient
	h       *harness
	welcome *rotav1.Welcome
	end     context.CancelFunc
	mu      sync.Mutex // one message is sent at a time
}

var workers atomic.Int64

// helloOf returns the hello of a worker that runs no jobs of polite clients.
func helloOf() *rotav1.Hello {
	id := fmt.Sprintf("hostile-%d", workers.Add(1))
	return &rotav1.Hello{WorkerId: id, Name: id, BootNonce: []byte(id + " nonce"), Slots: 4, Handlers: []string{"hostile"}}
}

// attach opens a stream to the leader. The end of the test ends it.
func (h *harness) attach(hello *rotav1.Hello) *line {
	h.t.Helper()
	l, err := h.tryAttach(hello)
	require.NoError(h.t, err)
	return l
}

func (h *harness) tryAttach(hello *rotav1.Hello) (*line, error) {
	ctx, cancel := context.WithCancel(h.t.Context())
	h.t.Cleanup(cancel)
	stream, err := rotav1.NewWorkerServiceClient(h.Dial(h.Leader())).Session(ctx)
	if err != nil {
		return nil, err
	}
	l := &line{WorkerService_SessionClient: stream, h: h, end: cancel}
	if err := l.say(hello); err != nil {
		return nil, err
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	l.welcome = first.GetWelcome()
	require.NotNil(h.t, l.welcome)
	return l, nil
}

// say sends one message of any kind. Its error is io.EOF if the server has ended the stream.
func (l *line) say(m any) error {
	r := &rotav1.SessionRequest{}
	switch m := m.(type) {
	case *rotav1.Hello:
		r.Message = &rotav1.SessionRequest_Hello{Hello: m}
	case *rotav1.Beat:
		r.Message = &rotav1.SessionRequest_Beat{Beat: m}
	case *rotav1.Reports:
		r.Message = &rotav1.SessionRequest_Reports{Reports: m}
	default:
		panic(fmt.Sprintf("%T is none of a worker's messages", m))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Send(r)
}

// reportOf returns a report that tasks succeeded.
func reportOf(job uint64, offset int64, ranges ...*rotav1.IndexRange) *rotav1.ReportGroup {
	return &rotav1.ReportGroup{JobId: job, TokenOffset: offset, Ranges: ranges, Outcome: rotav1.Outcome_OUTCOME_SUCCEEDED}
}

func tasks(first, count uint32) *rotav1.IndexRange {
	return &rotav1.IndexRange{First: first, Count: count}
}

// The worker sends 2,000 messages of 18 bytes that name 65,536 tasks each. With an exception for each task they once
// took 16 GiB on every server, and again at each start.
func TestReportsOfUnknownJobsCostWhatTheySay(t *testing.T) {
	t.Parallel()
	h := start(t)
	l := h.attach(helloOf())
	const reports = 2000
	received := make(chan error, 1)
	go func() {
		for n := 0; n < reports; {
			m, err := l.Recv()
			if err != nil {
				received <- err
				return
			}
			if m.GetReportsAnswer() != nil {
				n++
			}
		}
		received <- nil
	}()
	for seq := range uint64(reports) {
		// The server may end the stream with an error, which Recv returns.
		if l.say(&rotav1.Reports{Seq: seq + 1, Groups: []*rotav1.ReportGroup{reportOf(1<<40+seq, 0, tasks(0, 1<<16))}}) != nil {
			break
		}
	}
	err := <-received
	h.t.Logf("the stream ended with: %v", err)
	h.Served(20)
	h.Restart(h.Leader())
	h.Served(20)
}
