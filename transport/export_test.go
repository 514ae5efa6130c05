package transport

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// SendStream is the way to a worker.
type SendStream = sendStream

// Answer puts in the answer to a report, and Beat that to a beat.
func (out *SendStream) Answer(m *rotav1.SessionResponse) { out.answer(m, cost{}) }
func (out *SendStream) Beat(seq uint64)                  { out.beaten(seq) }

// SendAll returns what a send stream sends when its sender starts late and finds everything that put has put in.
func SendAll(n *node.Node, hello *rotav1.Hello, put func(*SendStream)) ([]*rotav1.SessionResponse, error) {
	sent := &sentMessages{}
	out := newSendStream(&Server{node: n}, 1, 1, hello, sent, func() {})
	put(out)
	out.finish()
	err := out.send(context.Background())
	return sent.messages, err
}

// Unread is the send stream to a worker that reads nothing. ended is called when the server gives it up.
func Unread(n *node.Node, ended func()) *SendStream {
	return newSendStream(&Server{node: n}, 1, 1, &rotav1.Hello{}, &sentMessages{}, ended)
}

// AnswerWhoIsGone answers a submit whose client has gone meanwhile, and wants to follow its job.
func AnswerWhoIsGone(n *node.Node, job uint64) {
	w := submitStreamOf(&Server{node: n, mostFollowed: 1})
	w.unfollowAll()
	w.answer(&rotav1.SubmitItem{Follow: true}, fsm.Result{Job: job}, nil)
}

func submitStreamOf(s *Server) *submitStream {
	w := &submitStream{s: s, wake: make(chan struct{}, 1), followed: map[uint64]*followed{}, holding: &wire.Holding{}}
	w.room = sync.NewCond(&w.mu)
	return w
}

// Following is streams of submits of one server that may follow so many jobs.
type Following struct {
	s       *Server
	streams []*submitStream
}

// NewFollowing returns some streams.
func NewFollowing(n *node.Node, most int64, streams int) *Following {
	f := &Following{s: &Server{node: n, mostFollowed: most}}
	for range streams {
		f.streams = append(f.streams, submitStreamOf(f.s))
	}
	return f
}

// Follow makes a stream follow a job; false: it is answered as lost.
func (f *Following) Follow(stream int, job uint64) bool {
	return !f.streams[stream].follow(1, job).lost
}

// End ends a stream.
func (f *Following) End(stream int) { f.streams[stream].unfollowAll() }

// Count is how many jobs are followed.
func (f *Following) Count() int64 { return f.s.following.Load() }

type sentMessages struct {
	sessionStream
	messages []*rotav1.SessionResponse
}

func (s *sentMessages) Send(m *rotav1.SessionResponse) error {
	s.messages = append(s.messages, m)
	return nil
}

// Within is within.
func Within(ctx context.Context, f func() error) error { return WithinOf(ctx, &Server{}, f) }

// WithinOf is within of a server.
func WithinOf(ctx context.Context, s *Server, f func() error) error { return s.within(ctx, f) }

// WriteUnanswered serves, while its server stops, a stream with one submit that is never answered. ctx is the
// stream's.
func WriteUnanswered(ctx context.Context, n *node.Node) error {
	s := &Server{node: n}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.stop()
	w := submitStreamOf(s)
	w.stream, w.unanswered = &submitsOf{ctx: ctx}, 1
	return w.write(ctx)
}

// submitsOf is a stream of submits that ends with a context.
type submitsOf struct {
	grpc.BidiStreamingServer[rotav1.SubmitStreamRequest, rotav1.SubmitStreamResponse]
	ctx context.Context
}

func (s *submitsOf) Context() context.Context { return s.ctx }

// HeldOfAnswer is what counts as held for an answer to a submit until it is sent.
func HeldOfAnswer(a *rotav1.SubmitAnswer) int64 { return heldBytes(a) }

// ChosenBefore is chosenBefore.
func ChosenBefore(n *node.Node, r *rotav1.RetryJobRequest) ([]task.Range, error) {
	rec, err := n.State().Job(r.GetJobId())
	if err != nil {
		return nil, err
	}
	return (&Server{node: n}).chosenBefore(rec, r)
}

// Missing is missing.
func Missing(n *node.Node, job uint64) []string { return (&Server{node: n}).missing(job) }
