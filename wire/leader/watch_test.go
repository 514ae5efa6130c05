package leader

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// network is the servers that a Finder can ask, by their addresses: what they announce first. It
// counts the questions.
type network struct {
	mu    sync.Mutex
	said  map[string]*rotav1.WatchLeaderResponse
	asked map[string]int
	// silent: they accept the question, and answer when they may speak.
	silent bool
	speak  chan struct{}
}

// newNetwork has servers that do not announce anything yet.
func newNetwork(addrs ...string) *network {
	n := &network{said: map[string]*rotav1.WatchLeaderResponse{}, asked: map[string]int{}, speak: make(chan struct{})}
	for _, addr := range addrs {
		n.said[addr] = nil
	}
	return n
}

// say makes servers announce a leader, and all that this network has now.
func (n *network) say(term uint64, leader string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := &rotav1.WatchLeaderResponse{Term: term, Leader: leader, LeaderAddr: leader}
	for _, addr := range addrs {
		m.Servers = append(m.Servers, addr)
		n.said[addr] = m
	}
}

// questions is how often a server was asked or watched.
func (n *network) questions(addr string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[addr]
}

func (n *network) connect(addr string) (Source, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.said[addr]; !ok {
		return Source{}, task.Errorf(task.KindUnavailable, "nobody listens at %s", addr)
	}
	n.asked[addr]++
	return Source{Client: &announcer{n: n, addr: addr}}, nil
}

// announcer is one server of a network.
type announcer struct {
	rotav1.ClusterServiceClient
	n    *network
	addr string
}

func (a *announcer) WatchLeader(ctx context.Context, _ *rotav1.WatchLeaderRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[rotav1.WatchLeaderResponse], error) {
	return &announcements{announcer: a, ctx: ctx}, nil
}

// announcements has one announcement, and then waits.
type announcements struct {
	grpc.ServerStreamingClient[rotav1.WatchLeaderResponse]
	*announcer
	ctx  context.Context
	told bool
}

func (a *announcements) Recv() (*rotav1.WatchLeaderResponse, error) {
	a.n.mu.Lock()
	m, silent := a.n.said[a.addr], a.n.silent
	a.n.mu.Unlock()
	if silent {
		select {
		case <-a.n.speak:
		case <-a.ctx.Done():
			return nil, a.ctx.Err()
		}
	}
	if m != nil && !a.told {
		a.told = true
		return m, nil
	}
	<-a.ctx.Done()
	return nil, a.ctx.Err()
}

// follows is a Follower that goes wherever it is told to.
type follows struct {
	mu     sync.Mutex
	addr   string
	term   uint64
	finder *Finder
}

func (f *follows) Leader() string { f.mu.Lock(); defer f.mu.Unlock(); return f.addr }
func (f *follows) Term() uint64   { f.mu.Lock(); defer f.mu.Unlock(); return f.term }

func (f *follows) Refute(term, reached uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.term == term {
		f.addr, f.term = "", reached
	}
}

func (f *follows) Follow(_ context.Context, news *rotav1.WatchLeaderResponse) {
	f.to(news.GetLeaderAddr(), news.GetTerm())
}

// to makes it follow a leader.
func (f *follows) to(addr string, term uint64) {
	f.mu.Lock()
	f.addr, f.term = addr, term
	f.mu.Unlock()
	f.finder.Moved()
}

// watchFrom begins to watch a network for somebody who knows one of its servers.
func watchFrom(t *testing.T, n *network, given ...string) *follows {
	t.Helper()
	who := &follows{}
	who.finder = New(Config{Addrs: given, Connect: n.connect, Logger: slog.New(slog.DiscardHandler)}, who)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		who.finder.Watch(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return who
}

// The watched server has announced the real leader, and says nothing more. Then another server says that it leads,
// in a term that never existed.
func TestAHigherTermThanTheWatchedServerKnowsIsDoubted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork("fake", "one", "real")
		n.say(5, "real", "fake", "one", "real")
		who := watchFrom(t, n, "one")
		synctest.Wait()
		require.Equal(t, "real", who.Leader())
		n.say(100, "fake", "fake")
		who.to("fake", 100)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.EqualValues(t, 5, who.Term())
		require.Equal(t, "real", who.Leader())
	})
}

// A server that has not heard of the newest leader yet is not asked again and again.
func TestAServerThatIsCutOffDoesNotTakeTheTermFromAnybody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork("cut-off", "one", "real")
		n.say(5, "old", "cut-off", "one", "real")
		who := watchFrom(t, n, "cut-off")
		synctest.Wait()
		n.mu.Lock()
		m := &rotav1.WatchLeaderResponse{Term: 6, Leader: "real", LeaderAddr: "real", Servers: []string{"cut-off", "one", "real"}}
		n.said["one"], n.said["real"] = m, m
		n.mu.Unlock()
		who.to("real", 6)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.EqualValues(t, 6, who.Term())
		require.Equal(t, "real", who.Leader())
		require.Less(t, n.questions("cut-off"), 10)
	})
}

// Servers that were asked before there was a leader of a term do not prove that there is none.
func TestWhatServersSaidBeforeDoesNotRefuteATerm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork("one", "two", "three")
		n.say(5, "one", "one", "two", "three")
		who := &follows{addr: "one", term: 5}
		who.finder = New(Config{Addrs: []string{"one", "two", "three"}, Connect: n.connect, Logger: slog.New(slog.DiscardHandler)}, who)
		require.True(t, who.finder.Doubt(t.Context()))
		time.Sleep(termPause / 2)
		n.say(6, "two", "two", "three")
		who.to("two", 6)
		require.True(t, who.finder.Doubt(t.Context()))
		require.EqualValues(t, 6, who.Term())
		require.Equal(t, 2, n.questions("three"))
		// A welcome in a far term must not wait that long, so what was said a moment ago counts.
		require.False(t, who.finder.Believable(t.Context(), 1<<60))
		require.Equal(t, 2, n.questions("three"))
	})
}

// A question that was given up before the servers could answer says nothing to others.
func TestAQuestionThatWasGivenUpIsNotKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork("one", "two", "three")
		n.say(1<<40, "one", "one", "two", "three")
		n.silent = true
		f := New(Config{Addrs: []string{"one", "two", "three"}, Connect: n.connect, Logger: slog.New(slog.DiscardHandler)}, nobody{})
		ctx, cancel := context.WithCancel(t.Context())
		given := make(chan bool)
		go func() { given <- f.Believable(ctx, 1<<40) }()
		synctest.Wait()
		cancel()
		require.False(t, <-given)
		close(n.speak)
		require.True(t, f.Believable(t.Context(), 1<<40))
	})
}

// A client that knows only the leader, and follows it before a watch could tell of the others, hears of them later.
func TestTheOthersAreHeardOfFromALeaderThatIsKnownAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork("real")
		who := watchFrom(t, n, "real")
		synctest.Wait()
		who.to("real", 5) // which ends the watch of it
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Less(t, n.questions("real"), 15, "one that does not answer is asked once in a while")
		n.say(5, "real", "one", "real", "two")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"real", "one", "two"}, who.finder.Known())
		require.Positive(t, n.questions("one")+n.questions("two"), "one of them is watched")
	})
}

// A cluster of one server gets others, while nothing else changes.
func TestServersThatJoinALonelyLeaderAreHeardOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork("real")
		n.say(5, "real", "real")
		who := watchFrom(t, n, "real")
		time.Sleep(time.Hour)
		require.Less(t, n.questions("real"), 150)
		n.say(5, "real", "one", "real", "two")
		time.Sleep(askLeaderPause)
		synctest.Wait()
		require.Equal(t, []string{"real", "one", "two"}, who.finder.Known())
	})
}

// All others were replaced while nobody could tell of it.
func TestServersThatReplacedAllOthersAreHeardOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork("old", "real")
		n.say(5, "real", "old", "real")
		who := watchFrom(t, n, "real", "old")
		synctest.Wait()
		require.Equal(t, "real", who.Leader())
		n.mu.Lock()
		delete(n.said, "old")
		n.mu.Unlock()
		n.say(5, "real", "new", "real")
		who.to("old", 5) // ends the watch of it
		synctest.Wait()
		who.to("real", 5)
		time.Sleep(2 * askLeaderPause)
		synctest.Wait()
		require.ElementsMatch(t, []string{"real", "old", "new"}, who.finder.Known())
		require.Positive(t, n.questions("new"))
	})
}
