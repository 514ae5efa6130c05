package node

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/task"
)

// Peers asks other servers who they are.
type Peers interface {
	Identify(ctx context.Context, addr string) (PeerInfo, error)
	// Probe is Identify over a connection of its own, for an address that anybody may have
	// named.
	Probe(ctx context.Context, addr string) (PeerInfo, error)
	Join(ctx context.Context, addr string, self PeerInfo) error
	// Meet tells a server where this one is, and asks it where others are.
	Meet(ctx context.Context, addr string, m Meeting) (Met, error)
}

// nobody is Peers that do not answer.
type nobody struct{}

var errNobody = task.Errorf(task.KindUnavailable, "this server was not told how to ask others")

func (nobody) Identify(context.Context, string) (PeerInfo, error) { return PeerInfo{}, errNobody }
func (nobody) Probe(context.Context, string) (PeerInfo, error)    { return PeerInfo{}, errNobody }
func (nobody) Join(context.Context, string, PeerInfo) error       { return errNobody }
func (nobody) Meet(context.Context, string, Meeting) (Met, error) { return Met{}, errNobody }

// PeerInfo is what a server says of itself.
type PeerInfo struct {
	NodeID, ServerID, ClusterID string
	Addr, PeerAddr, HTTPAddr    string
	// Initialized: it has a Raft configuration.
	Initialized     bool
	BootstrapExpect int
	State           Role
	Term            uint64
	AppliedIndex    uint64
	// CommitIndex is how far it knows the log to be committed; 0: it does not say.
	CommitIndex uint64
	// Version is that of its build, for people; Knows the newest version of the log that it knows, 0: it does
	// not say.
	Version     string
	Knows       uint32
	LeaderAddr  string
	LastContact time.Duration
	// Clock is its wall clock; zero: it does not say.
	Clock time.Time
	// DiskFull: it has no space, or too little. DiskFree is how much it has, bytes; nil: it does not say.
	DiskFull bool
	DiskFree *uint64
	// CertificateEnd is when its certificate expires; zero: it has none, or does not say.
	CertificateEnd time.Time
	// Members is the raft ids of the servers that it takes for those of the cluster.
	Members []string
	// Nonce was made with the process.
	Nonce string
	// Problem is what keeps it from doing its part, in words; "": nothing is known. Notes is
	// what a leader knows of others that cannot do theirs.
	Problem string
	Notes   []Note
}

// RaftID is how the server is called in Raft's configuration.
func (p PeerInfo) RaftID() raft.ServerID { return raftnet.ServerID(p.NodeID, p.ServerID) }

// Note is what a leader knows of a server that cannot do its part.
type Note struct{ NodeID, Problem string }

// knownBefore is the version that servers know that do not say: they were built before there was a gate.
const knownBefore = fsm.GateVersion - 1

// knows is the newest version of the log that the server's build knows.
func (p *PeerInfo) knows() uint32 { return max(p.Knows, knownBefore) }

// PeerStatus is a server of the cluster and what it says of itself.
type PeerStatus struct {
	NodeID, ServerID string
	PeerAddr         string
	Voter            bool
	// NoVote is why it has no vote, and what would give it one; "": it has one.
	NoVote string
	// Record is what is recorded of it; nil: nothing.
	Record *logpb.ServerRecord
	Info   PeerInfo
	// Err is why it did not answer.
	Err error
}

// leaderAmong is the address of the leader by what servers have said; "": nobody knows one.
func leaderAmong(peers []PeerInfo) (addr string) {
	term, leads := uint64(0), false
	for _, p := range peers {
		at := p.LeaderAddr
		if p.State == RoleLeader {
			at = p.Addr
		}
		// What a server says of itself is newer than what others have heard of it.
		if is := p.State == RoleLeader; at != "" && (p.Term > term || p.Term == term && is && !leads || addr == "") {
			addr, term, leads = at, p.Term, is
		}
	}
	return addr
}
