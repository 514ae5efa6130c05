package nemesis

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
)

const (
	// staleSnapshots is how many snapshots behind a server is when it comes back: with a
	// log as long as a snapshot's, what it needs is gone by then.
	staleSnapshots = 4
	// longestDown and longestInstall bound the waits for these snapshots, and for the one that
	// the server is sent.
	longestDown, longestInstall = 15 * time.Second, 10 * time.Second
	// lookEvery is how often files are checked: the window between the arrival of a snapshot and its taking over is a
	// few milliseconds.
	lookEvery = 500 * time.Microsecond
)

// snapshotInstall keeps a follower down until the others have dropped the log that it needs,
// and kills it again when it has received their state and has not yet taken it over.
func snapshotInstall(ctx context.Context, h *harm) error {
	var victim, other *cluster.Server
	for _, s := range h.shuffled() {
		if s.Name == h.leader() {
			other = s
		} else {
			victim = s
		}
	}
	if victim == nil || other == nil {
		return nil // nobody leads
	}
	h.hit([]*cluster.Server{victim})
	h.kill(victim.Process)
	taken, last := 0, []byte(nil)
	await(ctx, longestDown, 20*lookEvery, func() bool {
		// A folder that is being written may be read halfway; it is read again.
		now, err := os.ReadFile(filepath.Join(dataOf(other), "snapshots", "snapshot.json"))
		if err == nil && !bytes.Equal(now, last) {
			taken, last = taken+1, now
		}
		return taken > staleSnapshots
	})
	if err := victim.Start(); err != nil {
		return err
	}
	if await(ctx, longestInstall, lookEvery, func() bool {
		_, err := os.Stat(filepath.Join(dataOf(victim), "snapshots", "received.state"))
		return err == nil
	}) && h.random.IntN(3) > 0 {
		h.kill(victim.Process)
	}
	return nil
}

// dataOf is where a server's files are for this process: below its disk, not on it.
func dataOf(s *cluster.Server) string {
	if s.Disk != nil {
		return filepath.Join(s.Disk.Folder, "data")
	}
	return filepath.Join(filepath.Dir(s.LogFile), s.Name)
}

// await checks a condition until it holds; false: it did not in time.
func await(ctx context.Context, most, every time.Duration, holds func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
