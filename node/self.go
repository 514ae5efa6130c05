package node

import (
	"cmp"
	"math"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
)

// self is who this server is and where others reach it. It stays what it is while the process runs.
type self struct {
	// id is how it is called in Raft's configuration.
	id                       raft.ServerID
	nodeID, serverID         string
	addr, peerAddr, httpAddr string
	// version is that of its build, for people; knows is the newest version of the log that it knows.
	version string
	knows   uint32
	// nonce was made with the process: by it the process knows itself.
	nonce string
}

func newSelf(id identity, cfg *Config, nonce string) *self {
	return &self{
		id: id.raftID(), nodeID: id.NodeID, serverID: id.ServerID,
		addr: cfg.Addr, peerAddr: cfg.PeerAddr, httpAddr: cfg.HTTPAddr, version: cfg.Version,
		knows: cmp.Or(cfg.Knows, fsm.Version), nonce: nonce,
	}
}

// record is the server's own record, but for what the leader decides.
func (s *self) record() *logpb.ServerRecord {
	return &logpb.ServerRecord{
		NodeId: s.nodeID, ServerId: s.serverID, Addr: s.addr, PeerAddr: s.peerAddr, HttpAddr: s.httpAddr, Version: s.version,
	}
}

// sameRecord says whether two records tell the same of a server, but for what the leader
// decides.
func sameRecord(a, b *logpb.ServerRecord) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	a.Vote, b.Vote = false, false
	return proto.Equal(a, b)
}

// Self is what this server says of itself.
func (n *Node) Self() PeerInfo {
	m := n.state.Machine()
	info := PeerInfo{
		NodeID: n.self.nodeID, ServerID: n.self.serverID, ClusterID: m.ClusterID(),
		Addr: n.self.addr, PeerAddr: n.self.peerAddr, HTTPAddr: n.self.httpAddr,
		Initialized: n.directory.initialized(), BootstrapExpect: n.cfg.BootstrapExpect,
		State: roleOf(n.raft.State()), Term: n.Term(), AppliedIndex: m.AppliedIndex(), CommitIndex: n.raft.CommitIndex(),
		Version: n.self.version, Knows: n.self.knows,
		LeaderAddr: n.LeaderAddr(), LastContact: lastContact(n.raft.LastContact()), Clock: time.Now().Round(0), DiskFull: n.space.full(),
		Members: n.directory.memberIDs(),
		Nonce:   n.self.nonce, Problem: n.announcer.problem.get(), Notes: n.members.joins.notes(),
	}
	if free := n.space.free(); free != math.MaxInt64 {
		told := uint64(free)
		info.DiskFree = &told
	}
	if n.cfg.CertificateEnd != nil {
		info.CertificateEnd = n.cfg.CertificateEnd()
	}
	return info
}

// lastContact is the time since the leader was heard; 0: it never was.
func lastContact(at time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return time.Since(at)
}
