package nemesis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
)

// slowSync is how long an fsync takes on a slow disk.
const slowSync = 300 * time.Millisecond

func power(_ context.Context, h *harm) error { return h.powerLoss(false) }

func powerTorn(_ context.Context, h *harm) error { return h.powerLoss(true) }

// powerLoss kills servers and takes back what they had not synced.
func (h *harm) powerLoss(torn bool) error {
	servers := h.some()
	h.kill(processes(servers)...)
	var errs []error
	for _, s := range servers {
		lost, err := s.Disk.PowerLoss(torn)
		h.effect += lost
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func diskFull(_ context.Context, h *harm) error {
	h.harmDisks(func(s *cluster.Server) { s.Disk.SetFull(true) })
	return nil
}

func diskSlow(_ context.Context, h *harm) error {
	h.harmDisks(func(s *cluster.Server) { s.Disk.SetSlow(slowSync) })
	return nil
}

// harmDisks does something to disks, which Restore makes whole, and counts what it did. A
// server whose disk fails may end: it must not go on with a log that it cannot trust.
func (h *harm) harmDisks(harm func(s *cluster.Server)) []*cluster.Server {
	return h.onDisks(h.some(), harm)
}

// onDisks is harmDisks on some servers.
func (h *harm) onDisks(servers []*cluster.Server, harm func(s *cluster.Server)) []*cluster.Server {
	for _, s := range servers {
		s.Disk.Harmed()
		h.excuse(s.Name)
		harm(s)
	}
	h.undo = append(h.undo, func(context.Context) error {
		for _, s := range servers {
			h.effect += s.Disk.Harmed()
		}
		return nil
	})
	return servers
}

// endTimeout is how long a server may go on after a write or an fsync has failed.
const endTimeout = 5 * time.Second

// diskFailing makes writes fail. A server that has noticed must end: nobody can rely on what the kernel says of the
// next fsync.
func diskFailing(ctx context.Context, h *harm) error {
	servers := h.harmDisks(func(s *cluster.Server) { s.Disk.SetFailing(true) })
	for _, s := range servers {
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*endTimeout)
		noticed := cluster.Await(one, "a failed write", func() error {
			n := s.Disk.Harmed()
			if n == 0 {
				return errors.New("there was none")
			}
			h.effect += n
			return nil
		})
		if noticed == nil {
			h.mustEnd(one, s, "a failed write")
		}
		cancel()
	}
	return nil
}

// mustEnd waits for the end of a server, and notes it if that does not come in time.
func (h *harm) mustEnd(ctx context.Context, s *cluster.Server, why string) {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	if err := s.WaitEnd(ctx); err != nil {
		h.late(s.Name, fmt.Errorf("it goes on after %s: %w", why, err))
	}
}

// hangTimeout is how long a leader may keep its place while no fsync returns: twice the
// product's --stall-timeout, which is 2 s, and time for an election.
const hangTimeout = 10 * time.Second

// diskHang makes fsyncs of the leader or of a minority hang. A leader must lose its place, though its heartbeats
// need no disk, as long as a majority has disks that work.
func diskHang(ctx context.Context, h *harm) error {
	servers := h.primary()
	if h.random.IntN(2) == 0 {
		servers = append(servers, h.followers(len(h.cluster.Servers)/2-len(servers))...)
	}
	h.onDisks(servers, func(s *cluster.Server) { s.Disk.SetHung(true) })
	leader := servers[0].Name
	if h.leader() != leader || len(h.cluster.Servers) < 3 {
		return nil
	}
	one, cancel := context.WithTimeout(context.WithoutCancel(ctx), hangTimeout)
	defer cancel()
	err := cluster.Await(one, "another leader", func() error {
		if h.leader() == leader {
			return fmt.Errorf("%s still leads", leader)
		}
		return nil
	})
	if err != nil {
		h.late(leader, fmt.Errorf("its disk hangs: %w", err))
	}
	return nil
}
