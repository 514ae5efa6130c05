package client

import (
	"context"
	"time"

	"github.com/rota-scheduler/rota/wire"
)

// termPause is the least time between two inquiries about terms.
const termPause = time.Second

// heardOf takes what s says of the leader of a term. Where the term is far ahead of what is
// known, or behind it, the others are asked how far they are: one server that is wrong must
// not keep this client from every leader that there is. It is for the goroutine that
// watches. settled is false where too few have answered to tell.
func (c *Client) heardOf(addr string, term uint64) (settled bool) {
	settled = true
	known := c.leader.knownTerm()
	far := term > known && term-known > wire.MaxTermLeap
	if addr != "" && (far || term < known) {
		terms := c.askTerms()
		reached, refuted := wire.MajorityTerm(terms), wire.Refuted(terms, known)
		if refuted {
			c.log.Debug("nobody leads in the highest term that was heard of", "term", known)
			c.leader.refute(known, reached)
		}
		if far && term > reached && term-reached > wire.MaxTermLeap {
			return reached != 0
		}
		settled = far || refuted || reached >= known
	}
	c.leader.announced(addr, term)
	return settled
}

// askTerms asks all servers for their terms, or returns what they have said a moment ago.
func (c *Client) askTerms() []uint64 {
	if time.Since(c.termsAsked) < termPause {
		return c.terms
	}
	c.mu.Lock()
	servers := map[string]*server{}
	var addrs []string
	for _, s := range c.servers {
		addrs = append(addrs, s.addr)
		servers[s.addr] = s
	}
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	c.terms = wire.AskTerms(ctx, addrs, func(addr string) (wire.TermSource, error) {
		return wire.TermSource{Client: servers[addr].cluster}, nil
	})
	c.termsAsked = time.Now()
	return c.terms
}
