package wire

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/task"
)

const (
	// lookupAgain is the least time between two lookups of a name.
	lookupAgain = time.Second
	// lookupKept is how long the last answer for a name counts if the name cannot be looked up any more.
	lookupKept = 30 * time.Second
	// lookupTimeout bounds one lookup.
	lookupTimeout = 2 * time.Second
	// maxLookedUp bounds the addresses of a name: clusters have a handful of servers.
	maxLookedUp = 64
)

// Resolver looks names up. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// Lookup tells which addresses of servers a list stands for. A name in it may have several addresses, which is how
// containers and DNS tell of a cluster, and they change. A name with one address stays a name. A name of a service
// (_rota._tcp.example.com) stands for the hosts and ports of its SRV records.
//
// Names are asked for again at each call, but not more often than once a second. It is safe for use by many goroutines.
type Lookup struct {
	resolver Resolver

	mu    sync.Mutex
	names map[string]*lookedUp
}

// lookedUp is the last answer for a name. Its mutex is held while the name is looked up.
type lookedUp struct {
	mu    sync.Mutex
	addrs []string
	// asked is when it was asked last, and answered when there was an answer.
	asked, answered time.Time
	err             error
}

// LookupBy returns the Addrs of a Lookup by a resolver; nil if there is none.
func LookupBy(r Resolver) func(ctx context.Context, list []string) ([]string, error) {
	if r == nil {
		return nil
	}
	return NewLookup(r).Addrs
}

// NewLookup returns a Lookup by a resolver.
func NewLookup(r Resolver) *Lookup {
	return &Lookup{resolver: r, names: map[string]*lookedUp{}}
}

// Addrs returns the addresses that a list stands for, in its order, each once. err says which names could not be looked
// up; the other addresses are there all the same.
func (l *Lookup) Addrs(ctx context.Context, list []string) (addrs []string, err error) {
	answers, errs := make([][]string, len(list)), make([]error, len(list))
	var asking sync.WaitGroup
	for i, addr := range list {
		if !IsName(addr) {
			answers[i] = []string{addr}
			continue
		}
		asking.Go(func() { answers[i], errs[i] = l.name(ctx, addr) })
	}
	asking.Wait()
	for _, some := range answers {
		for _, addr := range some {
			if !slices.Contains(addrs, addr) {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs, errors.Join(errs...)
}

// name returns the addresses of one name.
func (l *Lookup) name(ctx context.Context, name string) ([]string, error) {
	l.mu.Lock()
	n := l.names[name]
	if n == nil {
		n = &lookedUp{}
		l.names[name] = n
	}
	l.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.asked.IsZero() && time.Since(n.asked) < lookupAgain {
		return n.addrs, n.err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := l.ask(ctx, name)
	n.asked = time.Now()
	switch {
	case err == nil:
		n.addrs, n.answered, n.err = addrs, n.asked, nil
	case time.Since(n.answered) > lookupKept:
		n.addrs, n.err = nil, err
	}
	return n.addrs, n.err
}

func (l *Lookup) ask(ctx context.Context, name string) ([]string, error) {
	if IsService(name) {
		return l.service(ctx, name)
	}
	host, port, err := net.SplitHostPort(name)
	if err != nil {
		return nil, CheckAddr(name)
	}
	ips, err := l.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, task.Errorf(task.KindUnavailable, "look up %s: %v", name, err)
	}
	if len(ips) == 1 || !slices.ContainsFunc(ips, func(ip netip.Addr) bool { return !isLocalhost(ip.Unmap()) }) {
		return []string{name}, nil // names are nicer to read
	}
	var addrs []string
	for _, ip := range ips[:min(len(ips), maxLookedUp)] {
		addrs = append(addrs, net.JoinHostPort(ip.Unmap().String(), port))
	}
	slices.Sort(addrs) // resolvers turn them around
	return addrs, nil
}

// isLocalhost says whether an address is one of those that localhost has: two for one server.
func isLocalhost(ip netip.Addr) bool {
	return ip == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || ip == netip.IPv6Loopback()
}

// service returns the hosts and ports of a service, those that are to be preferred first.
func (l *Lookup) service(ctx context.Context, name string) ([]string, error) {
	_, records, err := l.resolver.LookupSRV(ctx, "", "", name)
	if err != nil {
		return nil, task.Errorf(task.KindUnavailable, "look up the service %s: %v", name, err)
	}
	records = slices.SortedFunc(slices.Values(records), func(a, b *net.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port))
	})
	var addrs []string
	for _, r := range records[:min(len(records), maxLookedUp)] {
		addrs = append(addrs, net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port))))
	}
	return addrs, nil
}

// dial connects to an address, or to the first server of a service that lets it.
func dial(ctx context.Context, d *net.Dialer, addr string) (net.Conn, error) {
	if !IsService(addr) {
		return d.DialContext(ctx, "tcp", addr)
	}
	servers, err := NewLookup(net.DefaultResolver).service(ctx, addr)
	if err != nil {
		return nil, err
	}
	errs := []error{task.Errorf(task.KindUnavailable, "no server of the service %s answers", addr)}
	for _, to := range servers {
		conn, err := d.DialContext(ctx, "tcp", to)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// IsName says whether an address of a list may stand for several: its host is a name, or it is one of a service.
func IsName(addr string) bool {
	if IsService(addr) {
		return true
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	_, err = netip.ParseAddr(host)
	return err != nil
}

// IsService says whether an entry of a list is a name of a service, such as _rota._tcp.example.com. Names of hosts do
// not begin so, and have a port.
func IsService(addr string) bool { return strings.HasPrefix(addr, "_") && !strings.Contains(addr, ":") }

// CheckServer says what is wrong with an entry of a list of servers: host:port, or a name of a service.
func CheckServer(addr string) error {
	if !IsService(addr) {
		return CheckAddr(addr)
	}
	if parts := strings.Split(addr, "."); len(parts) < 3 || !strings.HasPrefix(parts[1], "_") {
		return task.Errorf(task.KindInvalid, "service %q is malformed: expected a name such as _rota._tcp.example.com", addr)
	}
	return nil
}
