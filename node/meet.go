package node

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/task"
)

const (
	// meetTimeout bounds a meeting, for which the other server asks back.
	meetTimeout = 2 * askTimeout
	// askBackAgain is how long it counts that a server was found where it says it is, before it is asked again.
	askBackAgain = 2 * time.Second
	// maxPlaces bounds the places in one message: a cluster has fewer servers.
	maxPlaces = task.MaxServers
)

// Place is where a server is said to be.
type Place struct {
	ID             raft.ServerID
	Addr, PeerAddr string
}

// NewPlace returns the place of a server with a raft id, for packages that know nothing of raft.
func NewPlace(raftID, addr, peerAddr string) Place {
	return Place{ID: raft.ServerID(raftID), Addr: addr, PeerAddr: peerAddr}
}

// valid says whether the addresses are some.
func (p Place) valid() bool {
	return task.ValidAddr("gRPC address", p.Addr) == nil && task.ValidAddr("Raft address", p.PeerAddr) == nil
}

// Meeting is what a server tells another one when it looks for the servers of its cluster.
type Meeting struct {
	From PeerInfo
	// Places is where it has found servers that are not where they are recorded.
	Places []Place
}

// Met is what the other one answers.
type Met struct {
	// Found: it has asked back, and finds the server where that says it is.
	Found bool
	// Places is where it has found servers.
	Places []Place
	// Sees is the raft ids of the new servers that it sees, itself included, if it is not part of a cluster yet.
	Sees []string
}

// reception is how this server meets others that look for theirs.
type reception struct {
	search *search
	// probe asks who is at an address, over a connection of its own.
	probe  func(ctx context.Context, addr string) (PeerInfo, error)
	joiner *joiner

	mu    sync.Mutex
	asked map[raft.ServerID]*askedBack
}

// askedBack is the last time that a server was asked back. Its mutex is held meanwhile.
type askedBack struct {
	mu    sync.Mutex
	at    time.Time
	nonce string
	place place
}

// meet answers a server that looks for others. It believes nothing that it has not asked itself, and asks back only
// for servers of the configuration, one at a time for each.
func (r *reception) meet(ctx context.Context, m Meeting) (Met, error) {
	s := r.search
	if !s.directory.initialized() {
		r.joiner.hear(m.Places)
		return Met{Sees: r.joiner.seen()}, nil
	}
	id, at := m.From.RaftID(), place{m.From.Addr, m.From.PeerAddr}
	if err := r.check(m); err != nil {
		return Met{}, err
	}
	s.hear(m.Places)
	return Met{Found: r.finds(ctx, id, m.From.Nonce, at), Places: s.places()}, nil
}

// check says what is wrong with a meeting.
func (r *reception) check(m Meeting) error {
	s := r.search
	at := Place{ID: m.From.RaftID(), Addr: m.From.Addr, PeerAddr: m.From.PeerAddr}
	servers, err := s.directory.servers()
	if err != nil {
		return s.leaders.readError(err)
	}
	_, known := member(servers, at.ID)
	switch {
	case !at.valid() || len(m.Places) > maxPlaces:
		return task.Errorf(task.KindInvalid, "server %s says no place where it could be", m.From.NodeID)
	case at.ID == s.self.id:
		return task.Errorf(task.KindConflict, "server %s runs with the data folder of this server, or with a copy of it: end one of them", m.From.NodeID)
	case !known:
		return task.Errorf(task.KindConflict, "server %s is not part of this cluster, as far as this server knows", raftnet.NodeID(at.ID))
	case !s.sameCluster(m.From.ClusterID):
		return task.Errorf(task.KindConflict, "server %s has the state of another cluster, %s", m.From.NodeID, m.From.ClusterID)
	}
	return nil
}

// finds says whether a server is where it says it is.
func (r *reception) finds(ctx context.Context, id raft.ServerID, nonce string, at place) bool {
	a := r.of(id)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.nonce == nonce && a.place == at && time.Since(a.at) < askBackAgain {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answers := make([]answer, 0, 2)
	info, err := r.probe(ctx, at.addr)
	if err != nil || info.RaftID() != id || info.Nonce != nonce || info.Addr != at.addr || info.PeerAddr != at.peerAddr {
		r.search.logger.Debug("a server is not where it says it is", "server", id, "addr", at.addr, "error", err)
		return false
	}
	answers = append(answers, answer{at.addr, info})
	if was := r.search.where.recordedAt(id); was.addr != "" && was.addr != at.addr {
		// Another process may run with its data there.
		if info, err := r.search.inquiry.peers.Identify(ctx, was.addr); err == nil && info.RaftID() == id {
			answers = append(answers, answer{was.addr, info})
		}
	}
	if !r.search.locate(id, answers) {
		return false
	}
	a.at, a.nonce, a.place = time.Now(), nonce, at
	return true
}

// of is what is kept of a server of the configuration. There are as many as the configuration has had.
func (r *reception) of(id raft.ServerID) *askedBack {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked == nil || len(r.asked) > maxPlaces {
		r.asked = map[raft.ServerID]*askedBack{}
	}
	if r.asked[id] == nil {
		r.asked[id] = &askedBack{}
	}
	return r.asked[id]
}
