package raftnet

import (
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// messageTimeout bounds how long a message may take from its first byte to its last, and each
// piece of a state that is received. Its sender gives up after a transportTimeout.
const messageTimeout = 10 * transportTimeout

// inbound is a connection that another server has opened, on which it sends messages.
type inbound struct {
	net.Conn
	from      raft.ServerID
	admission *admission
	// Only the one goroutine that reads uses these. limited is the message, by its number, that
	// has a deadline; 0: none has.
	framing framing
	limited uint64
}

// newInbound returns a connection on which one server speaks, and no other.
func newInbound(conn net.Conn, from raft.ServerID, adm *admission) *inbound {
	c := &inbound{Conn: conn, from: from, admission: adm}
	c.framing.seen = fieldSeen{id: c.speaks, term: adm.checkTerm}
	return c
}

// speaks refuses a message that names another sender than the handshake did.
func (c *inbound) speaks(id []byte) error {
	if string(id) != string(c.from) {
		return errOtherSender
	}
	return nil
}

// Read implements net.Conn. It does not return the part of a message that is refused.
func (c *inbound) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if e := c.framing.feed(p[:n]); e != nil {
		c.admission.refuse(hostOf(c.Conn), c.from, e)
		return 0, e
	}
	if e := c.limit(); e != nil && err == nil {
		err = e
	}
	return n, err
}

// limit sets the deadline of a message that has begun, and takes it away between messages: a
// connection may be quiet for as long as there is nothing to say.
func (c *inbound) limit() error {
	switch {
	case c.framing.between():
		if c.limited == 0 {
			return nil
		}
		c.limited = 0
		return c.SetReadDeadline(time.Time{})
	case c.framing.inside && c.limited == c.framing.begun:
		return nil
	}
	c.limited = c.framing.begun
	return c.SetReadDeadline(time.Now().Add(messageTimeout))
}

// outbound is a connection that this server has opened, on which another one answers.
type outbound struct {
	net.Conn
	to        raft.ServerID
	admission *admission
	// framing is used by whoever reads: raft's transport lets one at a time.
	framing framing
}

func newOutbound(conn net.Conn, to raft.ServerID, adm *admission) *outbound {
	c := &outbound{Conn: conn, to: to, admission: adm, framing: framing{answers: true}}
	c.framing.seen.term = adm.checkTerm
	return c
}

// Read implements net.Conn.
func (c *outbound) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if e := c.framing.feed(p[:n]); e != nil {
		c.admission.refuse(hostOf(c.Conn), c.to, e)
		return 0, e
	}
	return n, err
}

// hostOf is the host at the other end of a connection.
func hostOf(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	return host
}
