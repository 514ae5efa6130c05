package wire_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// names is a resolver that knows some names, and counts how often it was asked.
type names struct {
	mu    sync.Mutex
	hosts map[string][]string
	srv   map[string][]*net.SRV
	asked int
}

var errNoName = errors.New("no such host")

func (n *names) LookupNetIP(_ context.Context, _, host string) (ips []netip.Addr, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	for _, ip := range n.hosts[host] {
		ips = append(ips, netip.MustParseAddr(ip))
	}
	if ips == nil {
		return nil, errNoName
	}
	return ips, nil
}

func (n *names) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	if n.srv[name] == nil {
		return "", nil, errNoName
	}
	return name, slices.Clone(n.srv[name]), nil
}

func (n *names) set(host string, ips ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[host] = ips
}

func TestANameIsAllOfItsAddresses(t *testing.T) {
	t.Parallel()
	r := &names{hosts: map[string][]string{
		"cluster.example": {"10.0.0.3", "10.0.0.1", "::ffff:10.0.0.2", "fd00::1"},
		"one.example":     {"10.0.0.9"},
		"localhost":       {"127.0.0.1", "::1"},
		"here.example":    {"127.0.0.1", "127.0.0.2"},
	}}
	l := wire.NewLookup(r)
	for name, c := range map[string]struct{ list, want []string }{
		"addresses stay":           {[]string{"10.0.0.1:7420", "[fd00::1]:7420"}, []string{"10.0.0.1:7420", "[fd00::1]:7420"}},
		"several addresses":        {[]string{"cluster.example:7420"}, []string{"10.0.0.1:7420", "10.0.0.2:7420", "10.0.0.3:7420", "[fd00::1]:7420"}},
		"one address stays a name": {[]string{"one.example:7420"}, []string{"one.example:7420"}},
		"this machine is one":      {[]string{"localhost:7420"}, []string{"localhost:7420"}},
		"several servers here":     {[]string{"here.example:7420"}, []string{"127.0.0.1:7420", "127.0.0.2:7420"}},
		"each once": {
			[]string{"10.0.0.2:7420", "cluster.example:7420"}, []string{"10.0.0.2:7420", "10.0.0.1:7420", "10.0.0.3:7420", "[fd00::1]:7420"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := l.Addrs(t.Context(), c.list)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestANameOfAServiceHasItsOwnPorts(t *testing.T) {
	t.Parallel()
	const service = "_rota._tcp.example.com"
	l := wire.NewLookup(&names{srv: map[string][]*net.SRV{service: {
		{Target: "b.example.com.", Port: 7430}, {Target: "a.example.com.", Port: 7420}, {Target: "spare.example.com.", Port: 1, Priority: 9},
	}}})
	require.NoError(t, wire.CheckServer(service))
	got, err := l.Addrs(t.Context(), []string{service})
	require.NoError(t, err)
	require.Equal(t, []string{"a.example.com:7420", "b.example.com:7430", "spare.example.com:1"}, got)
	for _, bad := range []string{"_rota", "_rota.example", "_rota.tcp.example"} {
		require.ErrorIs(t, wire.CheckServer(bad), task.ErrInvalid, bad)
	}
}

// Records change while servers come and go. A server that looks for others asks several times a second.
func TestANameIsLookedUpAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &names{hosts: map[string][]string{"c.example": {"10.0.0.1", "10.0.0.2"}}}
		l := wire.NewLookup(r)
		list := []string{"c.example:7420"}
		for range 100 {
			_, err := l.Addrs(t.Context(), list)
			require.NoError(t, err)
		}
		require.Equal(t, 1, r.asked)
		r.set("c.example", "10.0.0.3", "10.0.0.4")
		time.Sleep(time.Second)
		got, err := l.Addrs(t.Context(), list)
		require.NoError(t, err)
		require.Equal(t, []string{"10.0.0.3:7420", "10.0.0.4:7420"}, got)
	})
}

func TestAFailedLookupKeepsWhatIsKnownForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &names{hosts: map[string][]string{"c.example": {"10.0.0.1", "10.0.0.2"}}}
		l := wire.NewLookup(r)
		list := []string{"c.example:7420", "10.0.0.9:1"}
		before, err := l.Addrs(t.Context(), list)
		require.NoError(t, err)
		r.set("c.example")
		time.Sleep(20 * time.Second)
		got, err := l.Addrs(t.Context(), list)
		require.NoError(t, err)
		require.Equal(t, before, got)
		time.Sleep(20 * time.Second)
		got, err = l.Addrs(t.Context(), list)
		require.ErrorContains(t, err, "look up c.example:7420: no such host")
		require.Equal(t, []string{"10.0.0.9:1"}, got)
	})
}
