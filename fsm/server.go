package fsm

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Servers are recorded here and not only in Raft's configuration, which knows one address
// of each: every server finds every other one by what all of them have recorded, never by
// what it has happened to hear.

// putServer records a server, in the place of any other of its node id.
func (m *Machine) putServer(o *logpb.PutServer, r *Result) {
	if r.Err = checkServer(o.Server); r.Err != nil {
		return
	}
	at, known := m.findServer(o.Server.NodeId)
	switch {
	case m.wasRemoved(o.Server.NodeId, o.Server.ServerId):
		r.Err = errRemoved(o.Server.NodeId, o.Server.ServerId)
		return
	case known && proto.Equal(m.servers[at], o.Server):
		r.Existed = true
		return
	case !known && len(m.servers) >= m.rules.MaxServers:
		r.Err = task.Errorf(task.KindExhausted, "the cluster has %d servers recorded, the limit", m.rules.MaxServers)
		return
	}
	// A slice of its own: readers and flush batches have the old one.
	fresh := slices.Clone(m.servers)
	if known {
		fresh[at] = proto.CloneOf(o.Server)
	} else {
		fresh = slices.Insert(fresh, at, proto.CloneOf(o.Server))
	}
	m.setServers(fresh)
	m.tell(Event{Kind: task.EventServerRecorded, Node: o.Server.NodeId, Addr: o.Server.Addr})
}

// deleteServer forgets a server.
func (m *Machine) deleteServer(o *logpb.DeleteServer, r *Result) {
	at, known := m.findServer(o.NodeId)
	if !known || m.servers[at].ServerId != o.ServerId {
		r.Err = task.Errorf(task.KindNotFound, "there is no server %s with the id %s", o.NodeId, o.ServerId)
		return
	}
	m.tell(Event{Kind: task.EventServerForgotten, Node: o.NodeId, Addr: m.servers[at].Addr})
	m.setServers(slices.Delete(slices.Clone(m.servers), at, at+1))
}

func (m *Machine) findServer(nodeID string) (at int, known bool) {
	return slices.BinarySearchFunc(m.servers, nodeID, func(s *logpb.ServerRecord, id string) int { return cmp.Compare(s.NodeId, id) })
}

func (m *Machine) setServers(servers []*logpb.ServerRecord) {
	m.servers = servers
	m.serverChanges++
}

// Servers returns the servers that are recorded, in order of their node ids. They must not
// be changed.
func (m *Machine) Servers() []*logpb.ServerRecord {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.servers
}

// ServerChanges counts the changes of what Servers returns, since this machine was made.
func (m *Machine) ServerChanges() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.serverChanges
}

// serversHash is the digest of the servers; 0 where there are none, as in a state that was
// written before they were recorded.
func serversHash(servers []*logpb.ServerRecord) uint64 {
	h := uint64(0)
	for _, s := range servers {
		words := []uint64{h}
		for _, text := range []string{s.NodeId, s.ServerId, s.Addr, s.PeerAddr, s.HttpAddr, s.Version} {
			words = append(words, hashBytes([]byte(text)))
		}
		if s.Vote {
			words = append(words, 1)
		}
		h = task.Mix(words...)
	}
	return h
}

func checkServer(s *logpb.ServerRecord) error {
	if s == nil {
		return task.Errorf(task.KindInvalid, "a record of no server")
	}
	if err := task.ValidNodeID("node id", s.NodeId); err != nil {
		return err
	}
	if err := task.ValidNodeID("server id", s.ServerId); err != nil {
		return err
	}
	if err := task.ValidAddr("gRPC address", s.Addr); err != nil {
		return err
	}
	if err := task.ValidAddr("Raft address", s.PeerAddr); err != nil {
		return err
	}
	if s.HttpAddr != "" {
		if err := task.ValidAddr("HTTP address", s.HttpAddr); err != nil {
			return err
		}
	}
	if s.Version != "" {
		return task.ValidName("version", s.Version)
	}
	return nil
}

// checkServers says what is wrong with servers that were read back.
func checkServers(servers []*logpb.ServerRecord) error {
	for i, s := range servers {
		if err := checkServer(s); err != nil {
			return err
		}
		if i > 0 && servers[i-1].NodeId >= s.NodeId {
			return task.Errorf(task.KindInternal, "server %s is out of order", s.NodeId)
		}
	}
	if len(servers) > task.MaxServers {
		return task.Errorf(task.KindInternal, "%d servers are recorded, the limit is %d", len(servers), task.MaxServers)
	}
	return nil
}
