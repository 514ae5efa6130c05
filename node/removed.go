package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/node/raftnet"
)

// ErrRemoved is the cause of the error of a server that was removed from the cluster and asks to be a part of it.
var ErrRemoved = errors.New("the server was removed from the cluster")

// departEvery is how often a server checks whether it was removed.
const departEvery = 200 * time.Millisecond

// departure ends a server that was removed from its cluster. It notes that in the data folder first, so that the
// server does not come back by accident. A server hears of it in two ways: by its own log, or, if it was away or the
// leader stopped sending too early, from the leader that it asks to be recorded (announce.go).
type departure struct {
	self      *self
	dir       string
	identity  identity
	directory *directory
	state     stateMachine
	logger    *slog.Logger

	once sync.Once
	// done is closed when the server has to end.
	done chan struct{}
}

// run checks whether this server was removed, until ctx ends.
func (d *departure) run(ctx context.Context) {
	for range ticks.Every(ctx, departEvery) {
		if d.isOver() {
			d.depart()
			return
		}
	}
}

// isOver says whether this server was removed, by what it has applied. Before Raft's configuration without it
// is committed, its vote may be needed for that.
func (d *departure) isOver() bool {
	if !d.directory.removed(d.self.id) {
		return false
	}
	encoded, _ := d.state.Machine().Configuration()
	if len(encoded) == 0 {
		return false
	}
	_, known := member(raft.DecodeConfiguration(encoded).Servers, d.self.id)
	return !known
}

// depart notes in the data folder that this server was removed, and says that it has to end.
func (d *departure) depart() {
	d.once.Do(func() {
		d.identity.Removed = true
		if err := writeIdentity(d.dir, d.identity); err != nil {
			d.logger.Error("cannot note in the data folder that this server was removed", "error", err)
		}
		d.logger.Warn("this server was removed from the cluster, and ends. " + joinAnew(d.dir))
		close(d.done)
	})
}

// errDeparted refuses to start a server that was removed.
func errDeparted(dir string, id identity) error {
	return fmt.Errorf("data folder %s is that of server %s with the id %s, which was removed from its cluster. %s", dir, id.NodeID, id.ServerID, joinAnew(dir))
}

// joinAnew says how a server that was removed comes back.
func joinAnew(dir string) string {
	return fmt.Sprintf("To run a server here again, move %s away, start the server with --join, and add it with rota cluster add", dir)
}

// removed says whether a server was removed, as far as this one has applied the log.
func (d *directory) removed(id raft.ServerID) bool {
	nodeID, serverID := raftnet.SplitServerID(id)
	for _, s := range d.state.Machine().Removed() {
		if s.NodeId == nodeID && s.ServerId == serverID {
			return true
		}
	}
	return false
}
