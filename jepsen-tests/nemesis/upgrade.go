package nemesis

import (
	"context"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
)

// Upgrade is the fault that replaces servers by the next build, one at each time. So a cluster is of two builds while
// other faults are at work. End replaces those that are left, and then the version of the log must rise.
const Upgrade = "upgrade"

const (
	// backOf is how many replacements there are for each one that goes back to the older build.
	backOf = 3
	// riseTimeout bounds the wait for the rise of the version. It takes a second or two.
	riseTimeout = 10 * time.Second
)

// upgrade replaces one server by the next build, or goes back with one. It goes back only while another server is of
// the older build: that one has a vote, so the version cannot rise meanwhile. If all are of the next build, it
// restarts one. A server of the next build becomes the leader, if it can.
func upgrade(ctx context.Context, h *harm) error {
	var old, next []*cluster.Server
	for _, s := range h.shuffled() {
		if s.Next() {
			next = append(next, s)
		} else {
			old = append(old, s)
		}
	}
	switch {
	case len(old) == 0:
		return h.install(ctx, next[0], true)
	case len(next) > 0 && h.random.IntN(backOf) == 0:
		return h.install(ctx, next[0], false)
	}
	if err := h.install(ctx, old[0], true); err != nil {
		return err
	}
	// A leader of the next build decides whether the version rises.
	h.lead(ctx, old[0])
	return nil
}

// lead asks for a server as the leader. A refusal is no harm.
func (h *harm) lead(ctx context.Context, s *cluster.Server) {
	cl, err := h.cluster.Client(s.Host)
	if err != nil {
		return
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), transferTimeout)
	defer cancel()
	_, _ = cl.TransferLeader(ctx, s.Name)
}

// upgradeRest replaces all servers that are of the older build.
func upgradeRest(ctx context.Context, h *harm) error {
	for _, s := range h.shuffled() {
		if s.Next() {
			continue
		}
		if err := h.install(ctx, s, true); err != nil {
			return err
		}
		h.lead(ctx, s)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), riseTimeout)
	defer cancel()
	// S22 tells of a version that does not rise.
	_ = h.cluster.AwaitRise(ctx)
	return nil
}

// install ends a server, in good order or not, and starts it as another build.
func (h *harm) install(ctx context.Context, s *cluster.Server, next bool) error {
	h.hit([]*cluster.Server{s})
	// One that has begun is brought to its end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healTimeout)
	defer cancel()
	if h.random.IntN(2) == 0 {
		s.Kill()
	} else if err := s.Stop(ctx); err != nil {
		h.late(s.Name, err)
	}
	h.effect++
	s.Install(next)
	if err := s.Start(); err != nil {
		return err
	}
	if err := s.WaitReady(ctx); err != nil {
		h.late(s.Name, err)
	}
	return nil
}

// upgrades says whether servers are upgraded.
func (n *Nemesis) upgrades() bool {
	return slices.ContainsFunc(n.cfg.Faults, func(f Fault) bool { return f.Kind == Upgrade })
}
