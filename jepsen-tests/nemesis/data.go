package nemesis

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/disk"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// What is done to the data of servers that do not run. It is done to a minority only, because what a majority has
// lost is lost. A server whose data was harmed is given an empty folder in the end, and must become a voter again,
// as a new server.

const (
	// wholeTimeout bounds the wait for all servers to be ready before any loses data.
	wholeTimeout = 15 * time.Second
	// replaceTimeout bounds the way of a new server to its vote.
	replaceTimeout = 45 * time.Second
	// startTimeout is how long a server with damaged data may take to serve or to refuse.
	startTimeout = 20 * time.Second
	// smallTries is how often small files are damaged, one after the other: they are whole
	// or refused, and a refusal takes a moment.
	smallTries = 16
)

// whole waits until every server is ready, and says whether that is so: no data is taken from a cluster that has not
// recovered from the fault before.
func (h *harm) whole(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, wholeTimeout)
	defer cancel()
	for _, s := range h.cluster.Servers {
		if s.WaitReady(ctx) != nil {
			return false
		}
	}
	return ctx.Err() == nil
}

func wipe(ctx context.Context, h *harm) error {
	count := 1 + h.random.IntN(max(1, (len(h.cluster.Servers)-1)/2))
	for _, s := range h.shuffled()[:count] {
		if !h.whole(ctx) {
			return nil
		}
		h.hit([]*cluster.Server{s})
		h.replace(ctx, s)
		h.effect++
	}
	return nil
}

// replace takes a server's data away and waits until it votes again, as a new server. If it does
// not, that is noted as a process that was late.
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

// damager harms a file, and says how much.
type damager func(path string, random *rand.Rand) (int64, error)

// damage harms a file of a server that is down, and starts it: it must refuse, or serve
// what the others do. Then it is replaced. Every kind of file has its turn; of those that
// are small, many are harmed, as long as there is time.
func (h *harm) damage(ctx context.Context, how damager) error {
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
	files, err := disk.Files(s.Data(), 1) // locks are empty
	if err != nil {
		return err
	}
	small, large := bySize(files)
	if len(small) == 0 || len(large) == 0 {
		return fmt.Errorf("%s has %d small and %d large files in %s", s.Name, len(small), len(large), s.Data())
	}
	if h.random.IntN(2) == 0 {
		_, err := h.harmFile(ctx, s, h.oneOf(large), how)
		return err
	}
	for try := 0; try < smallTries && ctx.Err() == nil; try++ {
		path := small[h.random.IntN(len(small))]
		before, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("keep what is harmed: %w", err)
		}
		serves, err := h.harmFile(ctx, s, path, how)
		if err != nil {
			return err
		}
		s.Kill()
		if serves {
			continue // it may have written the file again
		}
		if err := os.WriteFile(path, before, 0); err != nil {
			return fmt.Errorf("mend what was harmed: %w", err)
		}
	}
	return nil
}

// bySize divides files into those that are small, and the others by their kind.
func bySize(files []disk.File) (small []string, large map[string][]string) {
	large = map[string][]string{}
	for _, f := range files {
		kind := filepath.Base(f.Path)
		if ending := filepath.Ext(kind); ending == ".wal" {
			kind = ending
		}
		if f.Size < disk.Small {
			small = append(small, f.Path)
		} else {
			large[kind] = append(large[kind], f.Path)
		}
	}
	return small, large
}

// oneOf chooses a kind of files, and then one of them.
func (h *harm) oneOf(kinds map[string][]string) string {
	names := slices.Sorted(maps.Keys(kinds))
	files := kinds[names[h.random.IntN(len(names))]]
	return files[h.random.IntN(len(files))]
}

// harmFile harms a file of a server that is down, starts the server, and says whether it
// serves.
func (h *harm) harmFile(ctx context.Context, s *cluster.Server, path string, how damager) (serves bool, err error) {
	done, err := how(path, h.random)
	if err != nil {
		return false, err
	}
	h.effect += done
	if name := path[len(s.Data())+1:]; !slices.Contains(h.targets, name) {
		h.targets = append(h.targets, name)
	}
	if err := s.Start(); err != nil {
		return false, err
	}
	one, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	if err := s.WaitReady(one); err == nil {
		h.compare(one)
		return true, nil
	} else if s.Running() {
		h.late(s.Name, fmt.Errorf("with a damaged file it neither serves nor ends: %w", err))
	}
	return false, nil
}

// compare records the digests of all servers, now: one that serves from damaged data must have the same. One that
// ends in the meantime has none, and may end.
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
