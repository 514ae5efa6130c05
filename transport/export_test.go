package transport

import (
	"context"
	"sync"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/wire"
)

// Link is the way to a worker.
type Link = link

// Answer puts in the answer to a report, and Beat that to a beat.
func (l *Link) Answer(m *rotav1.SessionResponse) { l.answer(m, cost{}) }
func (l *Link) Beat(seq uint64)                  { l.beaten(seq) }

// SendAll returns what a link sends when its sender comes late, and finds all that put has
// put in.
func SendAll(n *node.Node, hello *rotav1.Hello, put func(*Link)) ([]*rotav1.SessionResponse, error) {
	sent := &sentMessages{}
	l := newLink(&Server{node: n}, 1, 1, hello, sent, func() {})
	put(l)
	l.finish()
	err := l.send(context.Background())
	return sent.messages, err
}

// Unread is a link whose worker reads nothing. ended is called when it is given up.
func Unread(n *node.Node, ended func()) *Link {
	return newLink(&Server{node: n}, 1, 1, &rotav1.Hello{}, &sentMessages{}, ended)
}

// AnswerWhoIsGone answers a submit whose client has gone meanwhile, and wants to follow its job.
func AnswerWhoIsGone(n *node.Node, job uint64) {
	w := &submitStream{s: &Server{node: n}, wake: make(chan struct{}, 1), followed: map[*followed]struct{}{}, holding: &wire.Holding{}}
	w.room = sync.NewCond(&w.mu)
	w.unfollowAll()
	w.answer(&rotav1.SubmitItem{Follow: true}, fsm.Result{Job: job}, nil)
}

type sentMessages struct {
	sessionStream
	messages []*rotav1.SessionResponse
}

func (s *sentMessages) Send(m *rotav1.SessionResponse) error {
	s.messages = append(s.messages, m)
	return nil
}

// Within is within.
func Within(ctx context.Context, f func() error) error { return within(ctx, f) }
