package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/disk"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// What is done to the data of servers that do not run. It is done to a minority only: what
// every majority has lost is lost. A server whose data was harmed is given an empty folder
// in the end, and must become a voter again, as a new server.

const (
	// wholeTimeout bounds the wait for all servers to be ready before any loses data.
	wholeTimeout = 15 * time.Second
	// replaceTimeout bounds the way of a new server to its vote.
	replaceTimeout = 45 * time.Second
	// startTimeout is how long a server with damaged data may take to serve or to refuse.
	startTimeout = 20 * time.Second
	// leastFile is the size of the smallest file that is damaged, bytes. Smaller ones are
	// locks and names.
	leastFile = 4096
)

// whole waits until every server is ready, and says whether that is so: nothing is taken
// from a cluster that has not come back from what was before.
func (h *harm) whole(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, wholeTimeout)
	defer cancel()
	for _, s := range h.cluster.Servers {
		if s.WaitReady(ctx) != nil {
			return false
		}
	}
	return true
}

func wipe(ctx context.Context, h *harm) error {
	count := 1 + h.random.IntN(max(1, (len(h.cluster.Servers)-1)/2))
	for _, s := range h.shuffled()[:count] {
		if ctx.Err() != nil || !h.whole(ctx) {
			return nil
		}
		h.hit([]*cluster.Server{s})
		h.replace(ctx, s)
		h.effect++
	}
	return nil
}

// replace takes a server's data away and waits until it votes again, as a new server. That
// it does not is told as a process that was late.
func (h *harm) replace(ctx context.Context, s *cluster.Server) {
	// What has begun is brought to its end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), replaceTimeout)
	defer cancel()
	s.Kill()
	// From here on it is a healthy server with an empty folder.
	h.blame(s.Name)
	if err := h.cluster.Replace(ctx, s); err != nil {
		h.late(s.Name, err)
	}
}

func diskBitflip(ctx context.Context, h *harm) error { return h.damage(ctx, disk.Flip) }

func diskTruncate(ctx context.Context, h *harm) error { return h.damage(ctx, disk.CutShort) }

// damage harms a file of a server that is down, and starts it: it must refuse, or serve
// what the others do. Then it is replaced.
func (h *harm) damage(ctx context.Context, how func(path string, random *rand.Rand) (int64, error)) error {
	if !h.whole(ctx) {
		return nil
	}
	s := h.hit(h.shuffled()[:1])[0]
	h.excuse(s.Name)
	s.Kill()
	h.undo = append(h.undo, func(ctx context.Context) error {
		h.replace(ctx, s)
		return nil
	})
	files, err := disk.Files(s.Data(), leastFile)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s has no file of %d bytes in %s", s.Name, leastFile, s.Data())
	}
	path := files[h.random.IntN(len(files))]
	done, err := how(path, h.random)
	if err != nil {
		return err
	}
	h.effect += done
	h.targets = append(h.targets, path[len(s.Data())+1:])
	if err := s.Start(); err != nil {
		return err
	}
	one, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	if err := s.WaitReady(one); err == nil {
		h.compare(one)
	} else if s.Running() {
		h.late(s.Name, fmt.Errorf("with a damaged file it neither serves nor ends: %w", err))
	}
	return nil
}

// compare records the digests of all servers, now: one that serves from damaged data must
// have the same. One that ends meanwhile has none, which is its right.
func (h *harm) compare(ctx context.Context) {
	digests, err := h.cluster.Digests(ctx)
	if err != nil {
		return
	}
	for _, d := range digests.Servers {
		if d.Error != "" {
			return
		}
	}
	h.recorder.Note(history.Observer, history.FDigest, "", digests)
}
