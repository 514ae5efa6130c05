package client

import (
	"context"
	"slices"

	"github.com/rota-scheduler/rota/wire"
)

// naming has the calls of a context name the servers that this client was given, until one of them has
// answered: see package wire. A server that does not know all of them refuses.
func (c *Client) naming(ctx context.Context) context.Context {
	if c.agreed.Load() {
		return ctx
	}
	return wire.WithAddrs(ctx, c.addrs)
}

// sameCluster asks the servers that this client was given whether they are of one cluster, where one of
// them does not know all others. Nothing is said of it any more where they are.
func (c *Client) sameCluster(ctx context.Context) error {
	c.mu.Lock()
	servers := slices.Clone(c.servers)
	c.mu.Unlock()
	err := wire.AskClusters(ctx, c.addrs, func(addr string) (wire.TermSource, error) {
		at := slices.IndexFunc(servers, func(s *server) bool { return s.addr == addr })
		if at < 0 {
			return wire.TermSource{}, ErrClosed
		}
		return wire.TermSource{Client: servers[at].cluster}, nil
	})
	if err == nil {
		c.agree()
	}
	return err
}

// agree says that the servers that this client was given are of one cluster, as far as is known.
func (c *Client) agree() {
	if !c.agreed.Load() { // which is so in nearly all calls, of many goroutines
		c.agreed.Store(true)
	}
}
