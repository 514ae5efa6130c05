package leader

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/wire"
)

// MaxServers bounds the servers that a Finder knows, where it was not given more. Clusters have a
// handful at most; addresses come and go with replacements.
const MaxServers = 64

// Source is a server that can be asked about its cluster. Close, which may be nil, is called
// afterwards.
type Source struct {
	Client rotav1.ClusterServiceClient
	Close  func()
}

// Config is what a Finder needs.
type Config struct {
	// Addrs is the servers that somebody gave; at least one. A name among them may stand for several.
	Addrs []string
	// Lookup returns the addresses that the servers of a list have now, as wire.Lookup does; nil: a name is one server.
	Lookup func(ctx context.Context, addrs []string) ([]string, error)
	// Connect returns a server to ask.
	Connect func(addr string) (Source, error)
	// Heard is called with each server that announces anything; nil: nobody needs to know.
	Heard func(addr string)
	// WatchLeader lets the leader itself be watched where no other server answers. Without it the
	// leader is asked now and then which servers there are, which takes no stream of its own.
	WatchLeader bool
	Logger      *slog.Logger
}

// Follower is who looks for the leader.
type Follower interface {
	// Leader is the server that it takes for the leader; "": none. Finder.Moved is called when that
	// has changed.
	Leader() string
	// Term is the highest term that it has heard of; 0: it knows of none.
	Term() uint64
	// Refute takes back a term that nobody leads in. The servers have reached another one.
	Refute(term, reached uint64)
	// Follow goes to a leader that was announced, of a term that is not below Term. ctx ends with
	// the watch that told of it.
	Follow(ctx context.Context, news *rotav1.WatchLeaderResponse)
}

// Finder finds the leader of a cluster for one Follower. It is safe for use by many goroutines.
type Finder struct {
	cfg      Config
	follower Follower
	// moved has an element when the follower has another leader: the watch may be in its way.
	moved chan struct{}
	// agreed says that the servers that were given are of one cluster, as far as is known.
	agreed atomic.Bool

	// looked is closed when names were looked up for the first time.
	looked   chan struct{}
	lookedUp sync.Once
	// draw decides with which server this Finder begins.
	draw uint32

	mu sync.Mutex
	// given is the servers of the configuration, or the addresses of their names, and known is those and the ones that
	// were named or pointed at.
	given, known []string
	turn         int

	// asking guards what the servers have said of their terms last, and when they were asked and had
	// answered.
	asking          sync.Mutex
	terms           []uint64
	asked, answered time.Time
}

// New makes a Finder. It does nothing before Watch.
func New(cfg Config, follower Follower) *Finder {
	f := &Finder{cfg: cfg, follower: follower, moved: make(chan struct{}, 1), looked: make(chan struct{}), draw: rand.Uint32()}
	f.given = f.turned(cfg.Addrs)
	f.known = slices.Clone(f.given)
	return f
}

// Known is every server that is known.
func (f *Finder) Known() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.known)
}

// Next is every server in turn.
func (f *Finder) Next() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	addr := f.known[f.turn%len(f.known)]
	f.turn++
	return addr
}

// Learn takes a server that somebody pointed at, where there is room.
func (f *Finder) Learn(addr string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.learn(addr)
}

// learn is Learn with the lock held.
func (f *Finder) learn(addr string) {
	if len(f.known) < max(MaxServers, len(f.given)) && !slices.Contains(f.known, addr) {
		f.known = append(f.known, addr)
	}
}

// Named takes the servers that there are, in the place of those that there were: what one server
// has said by mistake is gone when the next one says otherwise.
func (f *Finder) Named(addrs []string) {
	if len(addrs) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known = slices.Clone(f.given)
	for _, addr := range addrs {
		f.learn(addr)
	}
}

// Moved says that the follower has another leader.
func (f *Finder) Moved() {
	select {
	case f.moved <- struct{}{}:
	default:
	}
}

// Naming has a call name the servers that were given, until one of them has agreed: a server that
// does not know all of them refuses. Jobs, or tasks, of two clusters would come in turns otherwise.
func (f *Finder) Naming(ctx context.Context) context.Context {
	if f.agreed.Load() {
		return ctx
	}
	f.awaitLookup(ctx)
	return wire.WithAddrs(ctx, f.Given())
}

// Agreed says whether the servers that were given are of one cluster, as far as is known.
func (f *Finder) Agreed() bool { return f.agreed.Load() }

// Agree says that they are: one of them has done what it was asked for.
func (f *Finder) Agree() {
	if !f.agreed.Load() { // which is so in nearly all calls, of many goroutines
		f.agreed.Store(true)
	}
}

// SameCluster asks the servers that were given whether they are of one cluster, where one of them
// does not know all others. Nothing is said of it any more where they are.
func (f *Finder) SameCluster(ctx context.Context) error {
	err := f.askClusters(ctx)
	if err == nil {
		f.Agree()
	}
	return err
}
