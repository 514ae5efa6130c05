package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
)

// What a hostile worker does. It has a session of its own and is given nothing: whatever
// it reports must change nothing, and cost no more than its bytes.

const (
	// hostileMemory is how much private memory a server may have once such a worker was at work, bytes, until the
	// server is started again: what the worker did may be applied later. A machine would kill a server that takes
	// more; this machine must not suffer from it.
	hostileMemory = 1 << 30
	// hostileBurst is how many reports come one right after the other, so that they share an entry.
	hostileBurst = 512
	// hostileNamed is how many tasks each of them names.
	hostileNamed = 1 << 16
	// hostileJobs and hostileTokens are of how many jobs and tokens it guesses one.
	hostileJobs, hostileTokens = 200, 2000
)

// workerHostile makes a worker at the leader report what it does not hold.
func workerHostile(ctx context.Context, h *harm) error {
	servers := h.hit(h.shuffled())
	for _, s := range servers {
		// One that has just ended has no memory to bound.
		_ = s.LimitMemory(hostileMemory)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &hostileWorker{host: h.cluster.Clients[h.random.IntN(len(h.cluster.Clients))], random: rand.New(rand.NewPCG(h.random.Uint64(), 7))}
	w.parts.Go(func() {
		for ctx.Err() == nil {
			for _, s := range servers {
				if s.Name == h.leader() {
					w.against(ctx, s)
				}
			}
			ticks.Sleep(ctx, 10*hostilePause)
		}
	})
	h.undo = append(h.undo, func(context.Context) error {
		cancel()
		w.parts.Wait()
		h.effect += w.sent.Load()
		return nil
	})
	return nil
}

type hostileWorker struct {
	host   *network.Host
	random *rand.Rand
	parts  sync.WaitGroup
	// sent counts its reports.
	sent atomic.Int64
}

// against opens a session at a server, and reports until the stream ends.
func (w *hostileWorker) against(ctx context.Context, s *cluster.Server) {
	conn, err := s.Dial(w.host)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.Workers.Session(ctx)
	if err != nil {
		return
	}
	id := fmt.Sprintf("hostile-%x", w.random.Uint64())
	hello := &rotav1.Hello{WorkerId: id, Name: id, BootNonce: []byte(id), Slots: 1, Handlers: []string{"hostile"}}
	if stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: hello}}) != nil {
		return
	}
	w.parts.Go(func() {
		for {
			if _, err := stream.Recv(); err != nil {
				cancel()
				return
			}
		}
	})
	for seq := uint64(1); ticks.Sleep(ctx, 100*hostilePause); {
		for range hostileBurst {
			reports := &rotav1.Reports{Seq: seq, Groups: []*rotav1.ReportGroup{w.unknown(seq), w.guess()}}
			if stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Reports{Reports: reports}}) != nil {
				return
			}
			w.sent.Add(1)
			seq++
		}
	}
}

// unknown reports on tens of thousands of tasks of a job that does not exist.
func (w *hostileWorker) unknown(n uint64) *rotav1.ReportGroup {
	return &rotav1.ReportGroup{JobId: 1<<40 + n, Ranges: []*rotav1.IndexRange{{Count: hostileNamed - 1}}, Outcome: rotav1.Outcome_OUTCOME_SUCCEEDED}
}

// guess reports on a task of a job that may exist, under a token that somebody may hold.
func (w *hostileWorker) guess() *rotav1.ReportGroup {
	return &rotav1.ReportGroup{
		JobId: 1 + w.random.Uint64N(hostileJobs), TokenOffset: 1 + w.random.Int64N(hostileTokens), Ranges: []*rotav1.IndexRange{{Count: 1}},
		Outcome: rotav1.Outcome_OUTCOME_SUCCEEDED, PackedOutputs: []byte("\x06stolen"),
	}
}
