package wire

import (
	"context"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// maxUnsent bounds the answers that a server holds for clients that do not read them, bytes, of all connections
// together. gRPC keeps one message of each call, whatever its size and whatever the client has room for: a page of a
// list, or a job, has up to 1 MiB. Beyond the bound, the connection with the most ends. Each answer counts twice,
// because the message itself stays in memory until its client has taken some of it.
const maxUnsent = 48 << 20

// guardedInfo leads from a call to its connection.
type guardedInfo struct {
	credentials.AuthInfo
	conn *arrivingConn
}

// Unwrap returns what the credentials inside know of the other end.
func (g guardedInfo) Unwrap() credentials.AuthInfo { return g.AuthInfo }

// connOf is the connection of a call; nil if it is not one of this kind.
func connOf(ctx context.Context) *arrivingConn {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, _ := p.AuthInfo.(guardedInfo)
	return info.conn
}

// answers takes into account a message that is about to be sent. It returns what to send for it, and how much it
// counts.
func (c *arrivingConn) answers(m any) (out any, counted int64) {
	s, ok := measured(m)
	if !ok {
		return m, 0
	}
	counted = int64(s.size + messageHead)
	c.answering(counted)
	return s, counted
}

// answering takes into account an answer of some size.
func (c *arrivingConn) answering(size int64) {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return
	}
	c.unsent.Add(size)
	all := c.arrivals.unsent.Add(size)
	c.mu.Unlock()
	if all <= c.arrivals.mostUnsent {
		return
	}
	if over := c.arrivals.worst(func(c *arrivingConn) int64 { return c.unsent.Load() }); over != nil {
		c.arrivals.end(over)
	}
}

// sent takes off the account what was sent. mu is held.
//
// Data of a stream that ended before it was sent stays on the account until nothing is under way on the connection. At
// worst a good connection ends for it some time.
func (c *arrivingConn) sent(f *frames, data []byte) { c.answered(int64(len(data))) }

// answered takes some bytes off the account. mu is held.
func (c *arrivingConn) answered(size int64) {
	size = min(size, c.unsent.Load())
	c.unsent.Add(-size)
	c.arrivals.unsent.Add(-size)
}

// worst is the connection that has the most of something.
func (a *arrivals) worst(of func(c *arrivingConn) int64) (out *arrivingConn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	most := int64(0)
	for c := range a.conns {
		if n := of(c); n > most {
			out, most = c, n
		}
	}
	return out
}
