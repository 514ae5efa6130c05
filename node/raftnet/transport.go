package raftnet

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// MaxAppendEntries is how many entries one message to a follower carries, and one batch to the state machine.
	// Raft reads as many, of up to 256 KiB each, for each message, before the message is cut to what its server can
	// take.
	MaxAppendEntries = 64
	// transportTimeout bounds raft's messages. A half-open connection blocks a heartbeat
	// for as long.
	transportTimeout = time.Second
	// installBytes is how much of the state a server must take over in a transportTimeout: receive it, write it,
	// check it and answer. Raft's own default, 256 KiB, is too much for a busy machine: transfers were given up when
	// they had nearly ended, and the next one had more to send.
	installBytes = 32 << 10
	// transportPool is how many connections to each server are kept.
	transportPool = 3
	// maxInFlight is how many messages with entries may be on their way to a server.
	maxInFlight = 2
)

// Base is all that raft looks for in a transport.
type Base interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// Config is what a transport is made with.
type Config struct {
	// Self is this server in Raft's configuration, and Addr its Raft address as others reach it.
	Self raft.ServerID
	Addr string
	// Listener is the open Raft port. Nil: Base is set.
	Listener net.Listener
	// Dial connects to the Raft port of another server, and gives up after a timeout; nil: over TCP, in plain text.
	Dial func(addr string, timeout time.Duration) (net.Conn, error)
	// Base replaces TCP, in simulations.
	Base Base
	// Where is the Raft address of a server that Raft's configuration has at an address; nil: it is there. It must
	// not wait for raft, nor for the state machine.
	Where func(id raft.ServerID, configured raft.ServerAddress) raft.ServerAddress
	// FoundBy says whether another server finds this one where it is, although Raft's configuration has it elsewhere;
	// nil: none does.
	FoundBy func(id raft.ServerID) bool
	// ClusterID returns the id of the cluster; "": it is not known yet.
	ClusterID func() string
	// Ask asks the servers that this one knows which servers there are, and has what they say
	// learned by Learn. It ends with its context.
	Ask func(ctx context.Context)
	// Removed says whether a server was removed from the cluster.
	Removed func(raft.ServerID) bool
	// ElectionTimeout is how long a leader may be silent.
	ElectionTimeout time.Duration
	Logger          *slog.Logger
}

// Transport is raft's transport. Raft is made with it, and then attached.
type Transport struct {
	*serialHeartbeats
	cfg         Config
	admission   *admission
	known       *knownServers
	progress    *progress
	elsewhere   *elsewhere
	unreachable *unreachable

	raft  atomic.Pointer[raft.Raft]
	watch atomic.Pointer[leaderWatch]
}

// New returns a transport that lets nobody in before raft is attached. It owns the listener.
func New(cfg Config) *Transport {
	t := &Transport{cfg: cfg, progress: newProgress()}
	t.known = newKnownServers(cfg.Ask)
	t.admission = newAdmission(cfg.Self, cfg.ClusterID, t.known, newRefusals(cfg.Logger))
	if cfg.Removed != nil {
		t.admission.removed = cfg.Removed
	}
	sizes := newBatchSizes()
	base := cfg.Base
	if base == nil {
		base = peerIdentity{newTransport(newStreamLayer(cfg, t.admission), cfg.Logger, sizes, t.progress)}
	}
	t.elsewhere = newElsewhere(base, cfg.Where)
	t.unreachable = newUnreachable(t.elsewhere, t.replicates, sizes, t.progress, newUnreachableLog(cfg.Logger))
	t.serialHeartbeats = newSerialHeartbeats(voteGuard{t.unreachable, t.mayCampaign}, cfg.Self, t)
	return t
}

// newTransport serves raft on a stream layer.
func newTransport(layer *streamLayer, log *slog.Logger, sizes *batchSizes, pr *progress) Base {
	t := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:                  layer,
		MaxPool:                 transportPool,
		MaxRPCsInFlight:         maxInFlight,
		Timeout:                 transportTimeout,
		Logger:                  NewLogger(log),
		MsgpackUseNewTimeFormat: true,
	})
	t.TimeoutScale = installBytes
	return pipelined{t, sizes, pr}
}

// Attach tells the transport whose it is, and lets other servers in. reload changes raft's
// configuration. It is called once.
func (t *Transport) Attach(r *raft.Raft, reload func(change func(*raft.ReloadableConfig)) error) {
	t.watch.Store(newLeaderWatch(t.cfg, r, reload))
	t.raft.Store(r)
	t.admission.open(raftView{r})
}

// WatchLeader ends raft's wait for a leader that is silent, until ctx ends. Raft is attached.
func (t *Transport) WatchLeader(ctx context.Context) { t.watch.Load().run(ctx) }

// Learn notes what a trusted server says about the term, and about who belongs to the cluster.
func (t *Transport) Learn(term uint64, members ...raft.ServerID) { t.known.learn(term, members...) }

// Unreachable says whether a server did not answer its last heartbeat.
func (t *Transport) Unreachable(id raft.ServerID) bool { return t.unreachable.isUnreachable(id) }

// Silence is how long a server has answered no heartbeat, as far as is known from a term; 0:
// it has, or none was sent.
func (t *Transport) Silence(id raft.ServerID, term uint64) time.Duration {
	return t.unreachable.silence(id, term)
}

// ReachedAt is the Raft address at which a server has answered the last heartbeat that this one has sent it in a
// term; "": it has answered none.
func (t *Transport) ReachedAt(id raft.ServerID, term uint64) raft.ServerAddress {
	return t.elsewhere.reachedAt(id, term)
}

// Forget says that a server is no member any more.
func (t *Transport) Forget(id raft.ServerID) {
	t.unreachable.forget(id)
	t.elsewhere.forget(id)
}

// Trailing is how many entries before last to keep: keep, and before those what other servers need, limit at most.
func (t *Transport) Trailing(keep, last, limit uint64) uint64 {
	return t.progress.trailing(keep, last, limit, t.unreachable.isUnreachable)
}

// Refused counts what was refused on raft's port, since the start.
func (t *Transport) Refused() int64 { return t.admission.refusals.total.Load() }

// Close implements raft.WithClose. It waits until nobody is asked any more.
func (t *Transport) Close() error {
	defer t.admission.refusals.close()
	t.known.close()
	return t.serialHeartbeats.Close()
}

// replicates says whether this server leads in a term, and a server is one that it
// replicates to.
func (t *Transport) replicates(term uint64, id raft.ServerID) bool {
	r := t.raft.Load()
	if r == nil || r.State() != raft.Leader || r.CurrentTerm() != term {
		return false
	}
	_, known := member(r, id)
	return known
}

// mayCampaign says whether the others can find this server: it is where Raft's configuration has it, or a majority
// of the voters has found it where it is. What of the configuration is in its log counts, committed or not: its
// record stands before that, so who elects it has the record too.
func (t *Transport) mayCampaign() bool {
	r := t.raft.Load()
	if r == nil {
		return false
	}
	self, known := member(r, t.cfg.Self)
	return !known || string(self.Address) == t.cfg.Addr || t.foundByMajority(r)
}

// foundByMajority says whether a majority of the voters finds this server where it is.
func (t *Transport) foundByMajority(r *raft.Raft) bool {
	if t.cfg.FoundBy == nil {
		return false
	}
	voters, finders := 0, 0
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if s.ID == t.cfg.Self || t.cfg.FoundBy(s.ID) {
			finders++
		}
	}
	return finders > voters/2
}

// member returns a server of Raft's latest configuration.
func member(r *raft.Raft, id raft.ServerID) (raft.Server, bool) {
	servers := r.GetConfiguration().Configuration().Servers
	at := slices.IndexFunc(servers, func(s raft.Server) bool { return s.ID == id })
	if at < 0 {
		return raft.Server{}, false
	}
	return servers[at], true
}
