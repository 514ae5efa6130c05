package node

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/task"
)

// askTimeout bounds one question.
const askTimeout = time.Second

// inquiry asks other servers who they are, and what they know of the cluster. Raft hears the servers that
// this one knows, and those that they know: see package raftnet.
type inquiry struct {
	self      *self
	directory *directory
	peers     Peers
	// join is the join list, and lookup is which addresses it stands for now; nil: those that it has.
	join   []string
	lookup func(ctx context.Context, addrs []string) ([]string, error)
	// learned tells raft's transport, on the word of a server that is trusted, of a term and of who belongs to
	// the cluster.
	learned func(term uint64, members ...raft.ServerID)
	logger  *slog.Logger
}

// identify asks a server of the cluster who it is.
func (q *inquiry) identify(ctx context.Context, id raft.ServerID) (PeerInfo, error) {
	addr := q.directory.addrOf(id)
	if addr == "" {
		return PeerInfo{}, task.Errorf(task.KindUnavailable, "the gRPC address of %s is not known", raftnet.NodeID(id))
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	info, err := q.peers.Identify(ctx, addr)
	if err == nil && info.RaftID() != id {
		return PeerInfo{}, task.Errorf(task.KindUnavailable, "at %s, where %s was, is a server %s with the id %s now", addr, id, info.NodeID, info.ServerID)
	}
	return info, err
}

// members asks every server of the cluster, at once, who it is. own is what this server says of itself.
func (q *inquiry) members(ctx context.Context, own func() PeerInfo) ([]PeerStatus, error) {
	servers, err := q.directory.servers()
	if err != nil {
		return nil, err
	}
	voters := votersAmong(servers)
	out := make([]PeerStatus, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		nodeID, serverID := raftnet.SplitServerID(s.ID)
		out[i] = PeerStatus{NodeID: nodeID, ServerID: serverID, PeerAddr: string(s.Address), Voter: s.Suffrage == raft.Voter, Record: q.directory.record(s.ID)}
		out[i].NoVote = voteless(s, out[i].Record, voters)
		wg.Go(func() {
			if s.ID == q.self.id {
				out[i].Info = own()
				return
			}
			out[i].Info, out[i].Err = q.identify(ctx, s.ID)
		})
	}
	wg.Wait()
	return out, nil
}

// joinAddrs is the gRPC addresses of the join list. Names in it are looked up anew each time: their addresses change.
// err says which names could not be looked up.
func (q *inquiry) joinAddrs(ctx context.Context) (addrs []string, err error) {
	if q.lookup == nil {
		return slices.Clone(q.join), nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	addrs, err = q.lookup(ctx, q.join)
	if err != nil {
		q.logger.Debug("a name of the join list could not be looked up", "error", err)
	}
	return addrs, err
}

// ask asks every address of the join list, at once, and remembers the addresses that it learns.
func (q *inquiry) ask(ctx context.Context) []PeerInfo {
	join, _ := q.joinAddrs(ctx)
	return q.askAt(ctx, join, join)
}

// askAll asks the servers that are recorded, too.
func (q *inquiry) askAll(ctx context.Context) []PeerInfo {
	join, _ := q.joinAddrs(ctx)
	addrs := slices.Clone(join)
	for _, s := range q.directory.state.Machine().Servers() {
		if !slices.Contains(addrs, s.Addr) {
			addrs = append(addrs, s.Addr)
		}
	}
	return q.askAt(ctx, addrs, join)
}

// askAt asks who is at some addresses, at once. A server that has two of them answers for
// one, and this server for none: the list may have it under any of its names. The word of those at the addresses
// of the join list is taken for who belongs to the cluster.
func (q *inquiry) askAt(ctx context.Context, addrs, join []string) []PeerInfo {
	out := map[string]PeerInfo{}
	for _, a := range q.askEach(ctx, addrs) {
		joined := slices.Contains(join, a.asked)
		if joined {
			q.directory.met.meet(a.asked, a.info)
		}
		if a.info.Nonce == q.self.nonce {
			continue
		}
		if joined {
			q.learnFrom(a.info)
		}
		out[string(a.info.RaftID())+a.info.Nonce] = a.info
	}
	return slices.SortedFunc(maps.Values(out), func(a, b PeerInfo) int { return cmp.Compare(a.RaftID(), b.RaftID()) })
}

// askEach asks who is at some addresses, at once, and returns what was answered. It does not ask at the address of
// this server, which may answer under another one.
func (q *inquiry) askEach(ctx context.Context, addrs []string) (answers []answer) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, addr := range addrs {
		if addr == q.self.addr {
			continue
		}
		wg.Go(func() {
			info, err := q.peers.Identify(ctx, addr)
			if err != nil {
				q.logger.Debug("a server did not answer", "addr", addr, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, answer{addr, info})
		})
	}
	wg.Wait()
	return answers
}

// askTrusted asks the servers of Raft's configuration and of the join list which servers
// there are.
func (q *inquiry) askTrusted(ctx context.Context) {
	servers, err := q.directory.servers()
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	for _, s := range servers {
		// Anybody can become a server without a vote: its word counts for nothing.
		if s.ID == q.self.id || s.Suffrage != raft.Voter {
			continue
		}
		wg.Go(func() {
			if info, err := q.identify(ctx, s.ID); err == nil {
				q.learn(info)
			}
		})
	}
	q.ask(ctx) // see learnFrom
	wg.Wait()
}

// learnFrom takes the word of a server of the join list for who belongs to the cluster.
func (q *inquiry) learnFrom(p PeerInfo) {
	if own := q.directory.state.Machine().ClusterID(); own != "" && own != p.ClusterID {
		return
	}
	if !q.directory.initialized() {
		// It may be about to make a cluster with this server, and have none yet.
		q.learned(p.Term, p.RaftID())
	}
	q.learn(p)
}

// learn tells the transport which servers there are by what one of them says.
func (q *inquiry) learn(p PeerInfo) {
	members := make([]raft.ServerID, len(p.Members))
	for i, id := range p.Members {
		members[i] = raft.ServerID(id)
	}
	q.learned(p.Term, members...)
}
