package node

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/node/raftnet"
)

const (
	// searchEvery is how often a server checks whether it misses others. While it does, it looks for them, with
	// pauses that double up to searchMost.
	searchEvery = 200 * time.Millisecond
	searchMost  = 2 * time.Second
	// twinAgain is how often the log says that two processes run with the data of one server.
	twinAgain = time.Minute
)

// search looks for servers that are not where they are recorded, while this server misses some: it follows no
// leader, or it leads and has not reached them for longer than restarts take. It asks at the addresses of the join list, at the recorded ones,
// and at those that other servers tell. It finds nothing by word of mouth: a server counts as found if it has
// itself answered with its id.
//
// Both sides search, and each tells the other where it is (Meet). So it is enough if the join lists have one address
// in common at which a server is.
type search struct {
	self      *self
	raft      interface{ State() raft.RaftState }
	directory *directory
	inquiry   *inquiry
	where     *whereabouts
	leaders   *leaders
	// silence is how long a server has not answered this one, which leads.
	silence func(raft.ServerID) time.Duration
	// info is what this server says of itself.
	info   func() PeerInfo
	logger *slog.Logger

	mu sync.Mutex
	// told is where others say that servers are.
	told map[raft.ServerID]place
	// twins is when the log said last that there are two processes of a server.
	twins map[raft.ServerID]time.Time
}

// run searches whenever servers are missed, until ctx ends.
func (s *search) run(ctx context.Context) {
	pause := searchEvery
	for ticks.Sleep(ctx, pause) {
		if !s.missesServers() {
			pause = searchEvery
			continue
		}
		s.round(ctx)
		pause = min(2*pause, searchMost)
	}
}

// missesServers says whether this server has to look for others.
func (s *search) missesServers() bool {
	servers, err := s.directory.servers()
	if err != nil || len(servers) < 2 {
		return false // it is alone, or has yet to become a part of a cluster: see joiner
	}
	if s.raft.State() != raft.Leader {
		return s.leaders.leaderless()
	}
	return slices.ContainsFunc(servers, func(m raft.Server) bool { return s.silence(m.ID) >= replaceAfter })
}

// answer is what was answered at an address.
type answer struct {
	asked string
	info  PeerInfo
}

// round asks once wherever servers may be, and tells those that answer where this server is.
func (s *search) round(ctx context.Context) {
	members := s.others()
	by := map[raft.ServerID][]answer{}
	for _, a := range s.inquiry.askEach(ctx, s.addrs(ctx)) {
		if id := a.info.RaftID(); slices.Contains(members, id) && s.sameCluster(a.info.ClusterID) {
			by[id] = append(by[id], a)
		}
	}
	var meetings sync.WaitGroup
	for id, answers := range by {
		// Whoever has a leader needs to meet nobody else.
		if s.locate(id, answers) && s.raft.State() != raft.Leader {
			meetings.Go(func() { s.meet(ctx, id, answers[0].asked) })
		}
	}
	meetings.Wait()
}

// others is the other servers of the configuration.
func (s *search) others() (ids []raft.ServerID) {
	servers, err := s.directory.servers()
	if err != nil {
		return nil // raft has ended
	}
	for _, m := range servers {
		if m.ID != s.self.id {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// addrs is every address where a server may be.
func (s *search) addrs(ctx context.Context) []string {
	addrs, _ := s.inquiry.joinAddrs(ctx)
	add := func(addr string) {
		if addr != "" && !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	for _, id := range s.others() {
		add(s.where.recordedAt(id).addr)
	}
	for _, at := range s.where.finds() {
		add(at.addr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.told {
		add(at.addr)
	}
	return addrs
}

func (s *search) sameCluster(id string) bool {
	own := s.directory.state.Machine().ClusterID()
	return own == "" || id == own
}

// locate notes where a server is, by all that was answered in its name. It returns false if two processes have
// answered: one of them runs with a copy of the data of the other, and neither may be taken for the server.
func (s *search) locate(id raft.ServerID, answers []answer) bool {
	was := s.where.recordedAt(id)
	now := answers[0].info
	for _, a := range answers[1:] {
		if a.info.Nonce != now.Nonce {
			s.sayTwins(id, answers[0].asked, a.asked)
			s.where.forget(id)
			return false
		}
	}
	if at := (place{now.Addr, now.PeerAddr}); at == was {
		s.where.forget(id)
	} else if s.where.note(id, was, at) {
		s.logger.Info("a server is not where it is recorded", "server", raftnet.NodeID(id), "recorded", was.addr, "found", at.addr, "peer_addr", at.peerAddr)
	}
	return true
}

// sayTwins says that two processes answer in the name of a server.
func (s *search) sayTwins(id raft.ServerID, one, other string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.twins[id]) > twinAgain {
		if s.twins == nil {
			s.twins = map[raft.ServerID]time.Time{}
		}
		s.twins[id] = now
		s.logger.Error("two processes run with the data folder of one server, or with a copy of it: end one of them", "server", id, "at", one, "and_at", other)
	}
}

// meet tells a server where this one is, and hears where it knows others to be.
func (s *search) meet(ctx context.Context, id raft.ServerID, addr string) {
	ctx, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	met, err := s.inquiry.peers.Meet(ctx, addr, Meeting{From: s.info(), Places: s.places()})
	if err != nil {
		s.logger.Debug("a server could not be met", "server", id, "addr", addr, "error", err)
		return
	}
	s.hear(met.Places)
	s.where.confirm(id, met.Found)
}

// places is what this server tells others of where servers are.
func (s *search) places() (out []Place) {
	finds := s.where.finds()
	for _, id := range slices.Sorted(maps.Keys(finds)) {
		out = append(out, Place{ID: id, Addr: finds[id].addr, PeerAddr: finds[id].peerAddr})
	}
	return out
}

// hear takes note of where another server says that servers are. The next round asks there.
func (s *search) hear(places []Place) {
	members := s.others()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told == nil {
		s.told = map[raft.ServerID]place{}
	}
	maps.DeleteFunc(s.told, func(id raft.ServerID, _ place) bool { return !slices.Contains(members, id) })
	for _, p := range places {
		if slices.Contains(members, p.ID) && p.valid() {
			s.told[p.ID] = place{p.Addr, p.PeerAddr}
		}
	}
}
