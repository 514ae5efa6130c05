package fsm

import (
	"slices"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Servers that were removed are noted. A server that was away when that happened still has its log, its vote and
// its place in the configuration that it knows. It asks the leader to be recorded again, and by the note the leader
// knows that it must not be.

// removeServer forgets a server, and notes that it was removed. Its node id is free for another server.
func (m *Machine) removeServer(o *logpb.RemoveServer, r *Result) {
	for _, err := range []error{task.ValidNodeID("node id", o.NodeId), task.ValidNodeID("server id", o.ServerId)} {
		if err != nil {
			r.Err = err
			return
		}
	}
	if at, known := m.findServer(o.NodeId); known && m.servers[at].ServerId == o.ServerId {
		m.setServers(slices.Delete(slices.Clone(m.servers), at, at+1))
	}
	if m.wasRemoved(o.NodeId, o.ServerId) {
		r.Existed = true
		return
	}
	// A slice of its own: readers and flush batches have the old one.
	fresh := append(slices.Clone(m.removed), &logpb.RemovedServer{NodeId: o.NodeId, ServerId: o.ServerId})
	if most := m.rules.maxRemoved; len(fresh) > most {
		fresh = fresh[len(fresh)-most:]
	}
	m.removed = fresh
	m.serverChanges++
}

func errRemoved(nodeID, serverID string) error {
	return task.Errorf(task.KindConflict, "server %s with the id %s was removed from the cluster: give it an empty data folder, and let it join as a new server", nodeID, serverID)
}

func (m *Machine) wasRemoved(nodeID, serverID string) bool {
	return slices.ContainsFunc(m.removed, func(s *logpb.RemovedServer) bool { return s.NodeId == nodeID && s.ServerId == serverID })
}

// Removed returns the servers that were removed, in the order of their removal. The oldest may have been
// forgotten. They must not be changed.
func (m *Machine) Removed() []*logpb.RemovedServer {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.removed
}

// removedHash is the digest of the servers that were removed; 0 if there are none.
func removedHash(removed []*logpb.RemovedServer) uint64 {
	h := uint64(0)
	for _, s := range removed {
		h = task.Mix(h, hashBytes([]byte(s.NodeId)), hashBytes([]byte(s.ServerId)))
	}
	return h
}

// checkRemoved says what is wrong with removed servers that were read back.
func checkRemoved(removed []*logpb.RemovedServer) error {
	if len(removed) > task.MaxRemovedServers {
		return task.Errorf(task.KindInternal, "%d servers were removed, the limit is %d", len(removed), task.MaxRemovedServers)
	}
	for _, s := range removed {
		for _, err := range []error{task.ValidNodeID("node id", s.NodeId), task.ValidNodeID("server id", s.ServerId)} {
			if err != nil {
				return err
			}
		}
	}
	return nil
}
