package suite

import (
	"context"
	"sync"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// askAgain is how long after a server did not answer it is asked again who leads.
const askAgain = 50 * time.Millisecond

// leaders watches who leads, by the word of every server.
type leaders struct {
	cluster  *cluster.Cluster
	recorder *history.Recorder
	cancel   context.CancelFunc
	watchers sync.WaitGroup

	mu   sync.Mutex
	term uint64
	name string
	// terms is those that had a leader.
	terms map[uint64]bool
}

func newLeaders(c *cluster.Cluster, rec *history.Recorder) *leaders {
	return &leaders{cluster: c, recorder: rec, terms: map[uint64]bool{}}
}

// watch begins.
func (l *leaders) watch(ctx context.Context) {
	ctx, l.cancel = context.WithCancel(ctx)
	for _, s := range l.cluster.Servers {
		l.watchers.Go(func() {
			for ctx.Err() == nil {
				// A server that is down ends the stream; it is watched again when it is back.
				l.follow(ctx, s)
				ticks.Sleep(ctx, askAgain)
			}
		})
	}
}

// stop ends the watching and waits for its end.
func (l *leaders) stop() {
	l.cancel()
	l.watchers.Wait()
}

func (l *leaders) follow(ctx context.Context, s *cluster.Server) {
	conn, err := s.At()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	stream, err := conn.Cluster.WatchLeader(ctx, &rotav1.WatchLeaderRequest{})
	if err != nil {
		return
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			return
		}
		if msg.GetLeader() == "" {
			continue
		}
		l.recorder.Note(history.Observer, history.FLeader, s.Name, history.Leader{Leader: msg.GetLeader(), Term: msg.GetTerm()})
		l.mu.Lock()
		l.terms[msg.GetTerm()] = true
		if msg.GetTerm() >= l.term {
			l.term, l.name = msg.GetTerm(), msg.GetLeader()
		}
		l.mu.Unlock()
	}
}

// newest is the leader of the highest term that any server told of; "" before the first.
func (l *leaders) newest() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.name
}

// changes is how often another leader, or the same one again, has come after the first.
func (l *leaders) changes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(0, len(l.terms)-1)
}
