package nemesis

import (
	"context"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
)

func kill(_ context.Context, h *harm) error {
	h.kill(processes(h.some())...)
	return nil
}

// killFollowers takes the majority from a leader that stays. When the others are back, under
// load, it or another one must go on.
func killFollowers(_ context.Context, h *harm) error {
	h.kill(processes(h.followers(len(h.cluster.Servers) - 1))...)
	return nil
}

func lastingKill(_ context.Context, h *harm) error {
	h.kill(processes(h.minority())...)
	return nil
}

func pause(_ context.Context, h *harm) error {
	h.pause(processes(h.some())...)
	return nil
}

func pausePrimaries(_ context.Context, h *harm) error {
	h.pause(processes(h.primary())...)
	return nil
}

// pause stops processes. It does not harm one that has ended.
func (h *harm) pause(ps ...*cluster.Process) {
	for _, p := range ps {
		if p.Pause() == nil {
			h.effect++
		}
	}
}

func pauseKill(ctx context.Context, h *harm) error {
	servers := h.some()
	h.pause(processes(servers)...)
	h.undo = append(h.undo, func(context.Context) error {
		h.kill(processes(servers)...)
		return nil
	})
	return ctx.Err()
}

func rollingRestart(ctx context.Context, h *harm) error {
	order := h.shuffled()
	// The leader comes first or second: on a busy machine time may run out before the last.
	if i := slices.IndexFunc(order, func(s *cluster.Server) bool { return s.Name == h.leader() }); i > 1 {
		order[1], order[i] = order[i], order[1]
	}
	for _, s := range h.hit(order) {
		if ctx.Err() != nil {
			return nil
		}
		// One restart that has begun is brought to its end.
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), healTimeout)
		defer cancel()
		if err := s.Stop(one); err != nil {
			h.late(s.Name, err)
		}
		h.effect++
		if err := s.Start(); err != nil {
			return err
		}
		if err := s.WaitReady(one); err != nil {
			h.late(s.Name, err)
		}
	}
	return nil
}

func workerKill(_ context.Context, h *harm) error {
	h.kill(h.someWorkers()...)
	return nil
}

func workerPause(_ context.Context, h *harm) error {
	h.pause(h.someWorkers()...)
	return nil
}

// someWorkers is one worker or more.
func (h *harm) someWorkers() []*cluster.Process {
	workers := append([]*cluster.Process(nil), h.cluster.Workers...)
	h.random.Shuffle(len(workers), func(i, j int) { workers[i], workers[j] = workers[j], workers[i] })
	if len(workers) > 1 {
		workers = workers[:1+h.random.IntN(len(workers))]
	}
	for _, w := range workers {
		h.targets = append(h.targets, w.Name)
	}
	return workers
}

const (
	// transfers is how often the leader hands over in one fault.
	transfers = 3
	// transferTimeout bounds one.
	transferTimeout = 5 * time.Second
)

// leaderTransfer asks for other leaders, while clients work: nobody may get an answer from a server that has already
// lost its leadership.
func leaderTransfer(ctx context.Context, h *harm) error {
	cl, err := h.cluster.Client(h.cluster.Servers[0].Host)
	if err != nil {
		return err
	}
	defer cl.Close()
	for range transfers {
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), transferTimeout)
		to := h.hit(h.shuffled()[:1])[0].Name
		if to == h.leader() {
			// Anybody but the leader.
			to = ""
		}
		// The one that is asked for may be behind, or restart: a refusal is no harm.
		if _, err := cl.TransferLeader(one, to); err == nil {
			h.effect++
		}
		cancel()
		if !ticks.Sleep(ctx, time.Duration(h.random.Int64N(int64(time.Second)))) {
			return nil
		}
	}
	return nil
}
