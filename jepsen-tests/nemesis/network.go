package nemesis

import (
	"context"
	"net/netip"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
)

func partitionOne(_ context.Context, h *harm) error {
	h.split(h.hit(h.shuffled()[:1]))
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
	for _, a := range hosts {
		for _, b := range hosts {
			if inside[a] != inside[b] {
				h.cluster.Switch.Set(a, b, network.Link{Cut: true})
			}
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
