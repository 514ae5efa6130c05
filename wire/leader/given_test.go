package leader

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// records is the addresses of one name, which change.
type records struct {
	mu    sync.Mutex
	addrs []string
}

func (r *records) set(addrs ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addrs = addrs
}

func (r *records) lookup(context.Context, []string) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.addrs) == 0 {
		return nil, errors.New("no such host")
	}
	return r.addrs, nil
}

const name = "cluster.example:7420"

// watchName begins to watch a network for somebody who knows one name.
func watchName(t *testing.T, n *network, r *records) *follows {
	t.Helper()
	who := &follows{}
	who.finder = New(Config{Addrs: []string{name}, Lookup: r.lookup, Connect: n.connect, Logger: slog.New(slog.DiscardHandler)}, who)
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

func TestTheServersOfANameAreAllKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, r := newNetwork("10.0.0.3:7420"), &records{}
		r.set("10.0.0.1:7420", "10.0.0.2:7420", "10.0.0.3:7420")
		n.say(5, "10.0.0.3:7420", "10.0.0.3:7420")
		who := watchName(t, n, r)
		require.Equal(t, []string{name}, New(Config{Addrs: []string{name}}, who).Known(), "before anything is looked up")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.ElementsMatch(t, r.addrs, who.finder.Given())
		require.ElementsMatch(t, r.addrs, who.finder.Known())
		require.Equal(t, "10.0.0.3:7420", who.Leader(), "the only one that answers is found")
	})
}

// All containers of a cluster were made anew, and have other addresses. So was the leader that was followed.
func TestANameIsLookedUpAgainWhenItsServersAreGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, r := newNetwork(), &records{}
		r.set("10.0.0.1:7420", "10.0.0.2:7420")
		n.say(5, "10.0.0.1:7420", "10.0.0.1:7420", "10.0.0.2:7420")
		who := watchName(t, n, r)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, "10.0.0.1:7420", who.Leader())

		n.mu.Lock()
		clear(n.said)
		n.mu.Unlock()
		r.set("10.0.0.8:7420", "10.0.0.9:7420")
		n.say(6, "10.0.0.9:7420", "10.0.0.8:7420", "10.0.0.9:7420")
		who.to("10.0.0.2:7420", 5) // ends the watch there
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, "10.0.0.9:7420", who.Leader())
		require.ElementsMatch(t, []string{"10.0.0.8:7420", "10.0.0.9:7420"}, who.finder.Known(), "those that are gone are forgotten")

		// A name that has no address for a while takes nobody away.
		r.set()
		who.finder.lookUp(t.Context())
		require.Len(t, who.finder.Given(), 2)
	})
}

func TestTheServersOfANameAreOfOneCluster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, r := newNetwork(), &records{}
		r.set("10.0.0.1:7420", "10.0.0.2:7420")
		n.said["10.0.0.1:7420"] = &rotav1.WatchLeaderResponse{ClusterId: "a"}
		n.said["10.0.0.2:7420"] = &rotav1.WatchLeaderResponse{ClusterId: "b"}
		who := watchName(t, n, r)
		synctest.Wait()
		err := who.finder.SameCluster(t.Context())
		require.ErrorIs(t, err, task.ErrOtherCluster)
		require.ErrorContains(t, err, "10.0.0.1:7420 of cluster a; 10.0.0.2:7420 of cluster b")
	})
}
