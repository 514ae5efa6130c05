package node

import (
	"maps"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/node/raftnet"
)

// directory is which servers the cluster has, and where they are. The first is in Raft's configuration, the
// second in the replicated state, which is the same on every server. Where a server was found counts as long as
// its record is known to be wrong (whereabouts). What the addresses of the join list
// have answered counts only for a server without a record, in a cluster that is being made.
type directory struct {
	self  *self
	raft  configuredRaft
	state stateMachine
	// where knows where servers are found that are not where they are recorded.
	where *whereabouts
	met   addrBook
}

// configuredRaft is raft, as far as a directory uses it.
type configuredRaft interface {
	GetConfiguration() raft.ConfigurationFuture
}

// addrBook is what the addresses of the join list have answered last.
type addrBook struct {
	mu  sync.Mutex
	met map[string]PeerInfo
}

// meet notes the answer to a question at an address of the join list.
func (b *addrBook) meet(addr string, p PeerInfo) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.met == nil {
		b.met = map[string]PeerInfo{}
	}
	b.met[addr] = p
}

// get returns the gRPC address of a server, or "".
func (b *addrBook) get(id raft.ServerID) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, addr := range slices.Sorted(maps.Keys(b.met)) {
		if p := b.met[addr]; p.RaftID() == id {
			return p.Addr
		}
	}
	return ""
}

// servers is Raft's configuration.
func (d *directory) servers() ([]raft.Server, error) {
	f := d.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, err
	}
	return f.Configuration().Servers, nil
}

// initialized says whether the server has a Raft configuration, its own or a leader's.
func (d *directory) initialized() bool {
	servers, err := d.servers()
	return err == nil && len(servers) > 0
}

// memberIDs is the raft ids of the servers of the latest configuration.
func (d *directory) memberIDs() (ids []string) {
	servers, err := d.servers()
	if err != nil {
		return nil // raft has ended
	}
	for _, s := range servers {
		ids = append(ids, string(s.ID))
	}
	return ids
}

// member returns a server of Raft's configuration.
func member(servers []raft.Server, id raft.ServerID) (raft.Server, bool) {
	at := slices.IndexFunc(servers, func(s raft.Server) bool { return s.ID == id })
	if at < 0 {
		return raft.Server{}, false
	}
	return servers[at], true
}

// votes says whether a server has a vote, as far as this one knows.
func (d *directory) votes(id raft.ServerID) bool {
	servers, err := d.servers()
	if err != nil {
		return false
	}
	s, known := member(servers, id)
	return known && s.Suffrage == raft.Voter
}

// votersAmong is how many servers of a configuration vote.
func votersAmong(servers []raft.Server) (n int) {
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			n++
		}
	}
	return n
}

// recordID is how a recorded server is called in Raft's configuration.
func recordID(s *logpb.ServerRecord) raft.ServerID { return raftnet.ServerID(s.NodeId, s.ServerId) }

// record returns what is recorded of a server; nil: nothing.
func (d *directory) record(id raft.ServerID) *logpb.ServerRecord {
	for _, s := range d.state.Machine().Servers() {
		if recordID(s) == id {
			return s
		}
	}
	return nil
}

// addrOf is the gRPC address of a server; "": it is not known.
func (d *directory) addrOf(id raft.ServerID) string {
	if id == d.self.id {
		return d.self.addr
	}
	if at, ok := d.where.foundAt(id); ok {
		return at.addr
	}
	if s := d.record(id); s != nil {
		return s.Addr
	}
	return d.met.get(id)
}

// voterAddrs is the gRPC addresses of the voters, as far as they are known, sorted.
func (d *directory) voterAddrs() (addrs []string) {
	servers, err := d.servers()
	if err != nil {
		return nil // it is not part of a cluster yet
	}
	for _, s := range servers {
		if addr := d.addrOf(s.ID); addr != "" && s.Suffrage == raft.Voter {
			addrs = append(addrs, addr)
		}
	}
	slices.Sort(addrs)
	return addrs
}

// allAddrs is the gRPC addresses of all servers, those without a vote included, as far as they are
// known. There are none before this server is part of a cluster.
func (d *directory) allAddrs() (addrs []string) {
	servers, err := d.servers()
	if err != nil || d.state.Machine().ClusterID() == "" {
		return nil
	}
	for _, s := range servers {
		if addr := d.addrOf(s.ID); addr != "" {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// knowsAll says whether the address of every server is known.
func (d *directory) knowsAll() bool {
	servers, err := d.servers()
	return err == nil && !slices.ContainsFunc(servers, func(s raft.Server) bool { return d.addrOf(s.ID) == "" })
}
