package node

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/node/raftlog"
)

// spareBytes is the free space below which a disk counts as full: submits are refused
// while there is still room for what the accepted jobs have to write. It is the size of a
// file of the log.
const spareBytes = raftlog.SegmentBytes

// spaceEvery is how often the free space is looked at.
const spaceEvery = 250 * time.Millisecond

// diskSpace is how much space there is on the disk of the data folder.
type diskSpace struct {
	dir string
	// state and log know whether their last write found no space.
	state, log interface{ Full() bool }
	// little is true while there is less than spareBytes.
	little atomic.Bool
}

// watch looks at how much space is left, until ctx ends. scarce is called when it becomes too little. A
// disk that stalls may stall this too.
func (d *diskSpace) watch(ctx context.Context, scarce func()) {
	tick := time.NewTicker(spaceEvery)
	defer tick.Stop()
	for {
		little := d.free() < spareBytes
		if little && !d.little.Load() {
			scarce()
		}
		d.little.Store(little)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// free is how many bytes are left. A file system that does not say how large it is has enough.
func (d *diskSpace) free() int64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(d.dir, &fs); err != nil || fs.Blocks == 0 {
		return math.MaxInt64
	}
	return int64(min(fs.Bavail*uint64(fs.Bsize), math.MaxInt64))
}

// full says that the last write of the log or of state.db found no space, or that
// too little is left.
func (d *diskSpace) full() bool { return d.little.Load() || d.state.Full() || d.log.Full() }
