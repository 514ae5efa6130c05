package node

import (
	"math"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/node/raftlog"
)

// spareBytes is the free space below which a disk counts as full: submits are refused
// while there is still room for what the jobs that were accepted have to write. It is a
// file of the log.
const spareBytes = raftlog.SegmentBytes

// spaceEvery is how often that is looked at.
const spaceEvery = 250 * time.Millisecond

// watchSpace looks at how much space is left. A disk that stalls may stall this too.
func (n *Node) watchSpace() {
	tick := time.NewTicker(spaceEvery)
	defer tick.Stop()
	for {
		full := outOfSpace(n.cfg.DataDir)
		if full && !n.outOfSpace.Load() {
			// More of the log may be kept than the configuration says, which has no place now.
			n.snapshotWanted()
		}
		n.outOfSpace.Store(full)
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// outOfSpace says that the disk of a folder has less than spareBytes left.
func outOfSpace(dir string) bool { return freeBytes(dir) < spareBytes }

// freeBytes is how much space is left on the disk of a folder. A file system that does not
// say how large it is has enough.
func freeBytes(dir string) int64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || fs.Blocks == 0 {
		return math.MaxInt64
	}
	return int64(min(fs.Bavail*uint64(fs.Bsize), math.MaxInt64))
}

// diskFull says that the last write of the log or of state.db found no space, or that
// too little is left.
func (n *Node) diskFull() bool { return n.outOfSpace.Load() || n.flusher.Full() || n.log.Full() }
