package nemesis

import (
	"context"
	"errors"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// departTimeout is how long a server that was removed may take to hear of it and to end, and one that is started with the
// data of a removed one to refuse.
const departTimeout = 15 * time.Second

// membership removes servers, the leader as often as any other, and has them join again.
func membership(ctx context.Context, h *harm) error {
	for _, s := range h.shuffled()[:1+h.random.IntN(2)] {
		if !h.whole(ctx) {
			break
		}
		h.hit([]*cluster.Server{s})
		if err := h.remove(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// remove removes a server. It must end by itself, and must not start again with its data. Then it joins as a new server,
// and gets its vote. Half of the servers do not run when they are removed, and hear of it when they come back.
func (h *harm) remove(ctx context.Context, s *cluster.Server) error {
	// What has begun is brought to its end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*replaceTimeout)
	defer cancel()
	h.excuse(s.Name)
	away := h.random.IntN(2) == 0
	if away {
		s.Kill()
	}
	removed, err := h.cluster.Remove(ctx, s)
	if err != nil {
		h.late(s.Name, err)
	} else {
		h.recorder.Note(history.Nemesis, history.FRemoved, s.Name, removed)
		h.effect++
	}
	if away && err == nil {
		if err := s.Start(); err != nil {
			return err
		}
	}
	for _, what := range []string{"it was removed, and does not end", "it was removed, and serves again with its data"} {
		if err != nil {
			break
		}
		if !h.ends(ctx, s) {
			h.late(s.Name, errors.New(what))
			break
		}
		if err := s.Start(); err != nil {
			return err
		}
	}
	s.Kill()
	h.blame(s.Name)
	if err := h.cluster.Rejoin(ctx, s); err != nil {
		h.late(s.Name, err)
	}
	return nil
}

// ends waits until a server ends by itself.
func (h *harm) ends(ctx context.Context, s *cluster.Server) bool {
	ctx, cancel := context.WithTimeout(ctx, departTimeout)
	defer cancel()
	return cluster.Await(ctx, "the end of "+s.Name, func() error {
		if s.Running() {
			return errors.New("it runs")
		}
		return nil
	}) == nil
}
