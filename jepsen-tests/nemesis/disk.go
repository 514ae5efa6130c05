package nemesis

import (
	"context"
	"errors"
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
func (h *harm) harmDisks(harm func(s *cluster.Server)) {
	servers := h.some()
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
}
