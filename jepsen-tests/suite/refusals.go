package suite

import (
	"context"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
)

const (
	// refusedMetric counts a server's refused reports since its start.
	refusedMetric = "rota_reports_refused_total"
	// countEvery is how often it is read: what a server counts after the last time is lost when it is killed.
	countEvery = 300 * time.Millisecond
)

// refusals adds up how many reports of workers the servers refuse, over their restarts.
type refusals struct {
	cluster *cluster.Cluster
	cancel  context.CancelFunc
	readers sync.WaitGroup

	mu    sync.Mutex
	total int64
}

func (r *refusals) watch(ctx context.Context) {
	ctx, r.cancel = context.WithCancel(ctx)
	for _, s := range r.cluster.Servers {
		r.readers.Go(func() {
			for last := int64(0); ctx.Err() == nil; ticks.Sleep(ctx, countEvery) {
				// A server that does not answer is asked again.
				if n, err := s.Counter(ctx, refusedMetric); err == nil {
					r.add(last, n)
					last = n
				}
			}
		})
	}
}

// add adds what a counter has gained. One that is lower than before has begun again at 0.
func (r *refusals) add(last, now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now < last {
		last = 0
	}
	r.total += now - last
}

// stop ends the counting and returns the sum.
func (r *refusals) stop() int64 {
	r.cancel()
	r.readers.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}
