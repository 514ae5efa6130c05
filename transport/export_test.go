package transport

import (
	"context"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/node"
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

type sentMessages struct {
	sessionStream
	messages []*rotav1.SessionResponse
}

func (s *sentMessages) Send(m *rotav1.SessionResponse) error {
	s.messages = append(s.messages, m)
	return nil
}
