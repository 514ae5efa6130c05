package worker

import (
	"context"
	"math/rand/v2"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/wire/leader"
)

// Workers without exclusive tasks spread their move to a new leader over some time: spreadEach for
// each worker of the cluster, and spreadMost at most. Those with exclusive tasks move at once, because
// their leases run out.
const (
	spreadEach = 20 * time.Microsecond
	spreadMost = 200 * time.Millisecond
)

// follower is a worker as its leader.Finder knows it.
type follower struct{ w *Worker }

// source connects to a server to ask it about its cluster.
func (w *Worker) source(addr string) (leader.Source, error) {
	conn, err := w.cfg.Dial(addr)
	if err != nil {
		return leader.Source{}, err
	}
	return leader.Source{Client: rotav1.NewClusterServiceClient(conn), Close: func() { _ = conn.Close() }}, nil
}

// Leader is the server of the session. The finder does not ask it for news, because news of its end
// must not end with it.
func (f follower) Leader() string { return f.w.stream.current() }

// Term is the highest term that this worker has seen.
func (f follower) Term() uint64 { return f.w.lease.highest() }

// Refute goes back from a term that no majority has reached.
func (f follower) Refute(term, reached uint64) {
	f.w.log.Warn("nobody leads in the highest term that was heard of: some server said so by mistake, or lied", "term", term, "reached", reached)
	f.w.lease.refute(term, reached)
	f.w.stream.refute(reached)
}

// Follow moves the session to a leader of a higher term.
func (f follower) Follow(ctx context.Context, news *rotav1.WatchLeaderResponse) {
	if news.GetTerm() > f.w.lease.highest() && f.w.held.exclusivesHeld() == 0 {
		spread := min(time.Duration(news.GetWorkers())*spreadEach, spreadMost)
		if !ticks.Sleep(ctx, rand.N(spread+1)) {
			return
		}
	}
	f.w.lease.observe(news.GetTerm())
	f.w.stream.announced(news.GetTerm(), news.GetLeaderAddr())
}
