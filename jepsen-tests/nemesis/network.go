package nemesis

import (
	"context"
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
)

func partitionOne(_ context.Context, h *harm) error {
	h.split(h.hit(h.shuffled()[:1]))
	return nil
}

func lastingPartition(_ context.Context, h *harm) error {
	inside := map[netip.Addr]bool{}
	for _, s := range h.minority() {
		inside[s.Host.Addr] = true
	}
	// Workers and clients reach all: those on the side of the few would have nothing to do.
	h.divide(serverAddrs(h.cluster), inside)
	return nil
}

func partitionPrimaries(_ context.Context, h *harm) error {
	h.split(h.primary())
	return nil
}

func partitionMajority(_ context.Context, h *harm) error {
	side := h.primary()
	for _, s := range h.shuffled() {
		if len(side) < (len(h.cluster.Servers)-1)/2 && s != side[0] {
			side = append(side, h.hit([]*cluster.Server{s})...)
		}
	}
	h.split(side)
	return nil
}

// split cuts some servers off from the others. Workers and clients reach all of them, or
// each is on one of the sides.
func (h *harm) split(side []*cluster.Server) {
	inside := map[netip.Addr]bool{}
	for _, s := range side {
		inside[s.Host.Addr] = true
	}
	hosts := serverAddrs(h.cluster)
	if h.random.IntN(2) == 0 {
		for _, a := range otherAddrs(h.cluster) {
			inside[a] = h.random.IntN(2) == 0
			hosts = append(hosts, a)
		}
	}
	h.divide(hosts, inside)
}

// divide cuts the hosts inside off from the others.
func (h *harm) divide(hosts []netip.Addr, inside map[netip.Addr]bool) {
	for _, a := range hosts {
		for _, b := range hosts {
			if inside[a] != inside[b] {
				h.cut(a, b)
			}
		}
	}
}

// cut stops what one host sends to another.
func (h *harm) cut(from, to netip.Addr) { h.cluster.Switch.Set(from, to, network.Link{Cut: true}) }

// partitionThird leaves the leader where it is: it must not notice.
func partitionThird(_ context.Context, h *harm) error {
	h.split(h.followers(max(1, len(h.cluster.Servers)/3)))
	return nil
}

// partitionRing makes each server hear a majority, and each one another majority.
func partitionRing(_ context.Context, h *harm) error {
	servers := h.hit(h.shuffled())
	for from, to := range ringCuts(len(servers)) {
		h.cut(servers[from].Host.Addr, servers[to].Host.Addr)
	}
	return nil
}

// ringCuts is who is not heard by whom: each hears the next one, and if that makes no majority, the one before it as
// well, and so on.
func ringCuts(servers int) iter.Seq2[int, int] {
	return func(yield func(from, to int) bool) {
		heard := servers / 2
		for to := range servers {
			for from := range servers {
				ahead := (from - to + servers) % servers
				near := ahead <= (heard+1)/2 || servers-ahead <= heard/2
				if from != to && !near && !yield(from, to) {
					return
				}
			}
		}
	}
}

func partitionBridge(_ context.Context, h *harm) error {
	// The leader is not the bridge: everybody would reach it.
	bridge := h.followers(1)
	rest := slices.DeleteFunc(h.shuffled(), func(s *cluster.Server) bool { return slices.Contains(bridge, s) })
	h.hit(rest)
	for i, a := range rest {
		for j, b := range rest {
			if (i < len(rest)/2) != (j < len(rest)/2) {
				h.cut(a.Host.Addr, b.Host.Addr)
			}
		}
	}
	return nil
}

func partitionWorkers(_ context.Context, h *harm) error {
	for _, w := range h.someWorkers() {
		h.isolate(w.Host.Addr)
	}
	return nil
}

func partitionClients(_ context.Context, h *harm) error {
	clients := append([]*network.Host(nil), h.cluster.Clients...)
	h.random.Shuffle(len(clients), func(i, j int) { clients[i], clients[j] = clients[j], clients[i] })
	for _, c := range clients[:1+h.random.IntN(len(clients))] {
		h.targets = append(h.targets, c.Addr.String())
		h.isolate(c.Addr)
	}
	return nil
}

// isolate cuts a host off from the leader, or from all servers, or makes it deaf to them.
func (h *harm) isolate(host netip.Addr) {
	servers := h.cluster.Servers
	if h.random.IntN(2) == 0 {
		servers = h.primary()
	}
	deaf := h.random.IntN(3) == 0
	for _, s := range servers {
		h.cut(s.Host.Addr, host)
		if !deaf {
			h.cut(host, s.Host.Addr)
		}
	}
}

func partitionOneway(_ context.Context, h *harm) error {
	victim := h.primary()[0].Host.Addr
	deaf := h.random.IntN(2) == 0
	for _, other := range serverAddrs(h.cluster) {
		if other == victim {
			continue
		}
		from, to := victim, other
		if deaf {
			from, to = other, victim
		}
		h.cluster.Switch.Set(from, to, network.Link{Cut: true})
	}
	return nil
}

func packetLoss(_ context.Context, h *harm) error {
	h.everywhere(network.Link{Loss: 0.2})
	return nil
}

func packetDelay(_ context.Context, h *harm) error {
	h.everywhere(network.Link{Delay: 5 * time.Millisecond, Jitter: 40 * time.Millisecond, Duplicate: 0.1})
	return nil
}

func packetDup(_ context.Context, h *harm) error {
	h.everywhere(network.Link{Duplicate: 0.5})
	return nil
}

const (
	// A slow link passes so many bytes a second, so late.
	slowRate, slowDelay = 32 << 10, 15 * time.Millisecond
	// resetChance is how likely a packet ends its connection: one that is busy lives for
	// some tens of milliseconds.
	resetChance = 0.02
)

func packetSlow(_ context.Context, h *harm) error {
	h.everywhere(network.Link{Rate: slowRate, Delay: slowDelay})
	return nil
}

func connReset(_ context.Context, h *harm) error {
	for _, s := range h.some() {
		for _, other := range append(otherAddrs(h.cluster), serverAddrs(h.cluster)...) {
			if other != s.Host.Addr {
				h.cluster.Switch.Set(s.Host.Addr, other, network.Link{Reset: resetChance})
				h.cluster.Switch.Set(other, s.Host.Addr, network.Link{Reset: resetChance})
			}
		}
	}
	return nil
}

// everywhere sets all links between servers, and those to workers and clients.
func (h *harm) everywhere(l network.Link) {
	h.hit(h.cluster.Servers)
	servers := serverAddrs(h.cluster)
	for _, a := range servers {
		for _, b := range append(otherAddrs(h.cluster), servers...) {
			if a != b {
				h.cluster.Switch.Set(a, b, l)
				h.cluster.Switch.Set(b, a, l)
			}
		}
	}
}

func serverAddrs(c *cluster.Cluster) []netip.Addr {
	var out []netip.Addr
	for _, s := range c.Servers {
		out = append(out, s.Host.Addr)
	}
	return out
}

func otherAddrs(c *cluster.Cluster) []netip.Addr {
	var out []netip.Addr
	for _, w := range c.Workers {
		out = append(out, w.Host.Addr)
	}
	for _, h := range c.Clients {
		out = append(out, h.Addr)
	}
	return out
}
