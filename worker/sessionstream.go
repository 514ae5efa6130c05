package worker

import (
	"context"
	"errors"
	"sync"

	"github.com/rota-scheduler/rota/wire/leader"
)

var (
	errNewLeader = errors.New("another server has become leader")
	errRefuted   = errors.New("no majority of the servers has reached the term that the server speaks for")
)

// sessionStream is where the session's stream is, and where to open the next one.
type sessionStream struct {
	finder *leader.Finder
	// news has an element when a leader was announced, or a term refuted.
	news chan struct{}

	mu sync.Mutex
	// hint is the address to try next; empty: the next one in turn.
	hint string
	// addr is where the session is, or was last.
	addr string
	// target is where a stream is open or being opened, term is its term once that is known, and
	// cut ends it; nil: there is none.
	target string
	term   uint64
	cut    context.CancelCauseFunc
}

func newSessionStream(finder *leader.Finder) *sessionStream {
	return &sessionStream{finder: finder, news: make(chan struct{}, 1)}
}

// next is the address to try next.
func (s *sessionStream) next() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hint != "" {
		addr := s.hint
		s.hint = ""
		return addr
	}
	return s.finder.Next()
}

// tryNext notes where the leader is said to be.
func (s *sessionStream) tryNext(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hint = addr
	s.finder.Learn(addr)
}

// opening notes that a stream is being opened to the server that next has returned. It ends at once if
// another leader was announced since then.
func (s *sessionStream) opening(addr string, cut context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.target, s.term, s.cut = addr, 0, cut
	if s.hint != "" && s.hint != addr {
		cut(errNewLeader)
	}
}

// opened notes that the stream is open.
func (s *sessionStream) opened(addr string, term uint64) {
	s.mu.Lock()
	s.addr, s.term = addr, term
	s.mu.Unlock()
	s.finder.Learn(addr)
	s.finder.Moved()
}

// ended notes that the stream has ended.
func (s *sessionStream) ended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = nil
}

// current is the address that the session uses, or used last.
func (s *sessionStream) current() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// welcomeTerm is the term of the welcome on the open stream.
func (s *sessionStream) welcomeTerm() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.term
}

// announced ends the stream to a deposed leader, or an attempt to open one to another server, and
// makes the new leader the next address.
func (s *sessionStream) announced(term uint64, addr string) {
	s.mu.Lock()
	if s.cut != nil && (s.term >= term || s.term == 0 && s.target == addr) {
		s.mu.Unlock()
		return
	}
	s.hint = addr
	if s.cut != nil {
		s.cut(errNewLeader)
	}
	s.mu.Unlock()
	notify(s.news)
}

// refute ends the stream to a server that speaks for a higher term than a majority has reached.
func (s *sessionStream) refute(reached uint64) {
	s.mu.Lock()
	if s.cut != nil && s.term > reached {
		s.cut(errRefuted)
		// A leader of a lower term may be announced before the stream has ended: it is not in its way.
		s.cut = nil
	}
	s.mu.Unlock()
	notify(s.news)
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
