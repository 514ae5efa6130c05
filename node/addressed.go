package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Raft finds a server by its address alone. A server that has lost its data folder has
// the address of the one that it was, and the others would go on with it as if it was
// that one still: it would vote, and count for what it has forgotten. So each connection
// says which server it is for, by its raft id, and any other one does not answer.

const (
	// addressMark stands between an address and an id, where raft's transport knows of
	// addresses only. No address contains it.
	addressMark = "#"
	// meantMagic begins what says who is meant; a length in two bytes and the id follow.
	meantMagic = "ROTA"
	maxRaftID  = 1024
)

// raftTransport is all that raft looks for in a transport.
type raftTransport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

var _ raftTransport = pipelined{}

// addressed is raft's transport, with the id of a server as a part of its address.
type addressed struct {
	raftTransport
}

func addressOf(id raft.ServerID, target raft.ServerAddress) raft.ServerAddress {
	return target + addressMark + raft.ServerAddress(id)
}

// AppendEntriesPipeline implements raft.Transport.
func (a addressed) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	return a.raftTransport.AppendEntriesPipeline(id, addressOf(id, target))
}

// AppendEntries implements raft.Transport.
func (a addressed) AppendEntries(id raft.ServerID, target raft.ServerAddress, r *raft.AppendEntriesRequest, out *raft.AppendEntriesResponse) error {
	return a.raftTransport.AppendEntries(id, addressOf(id, target), r, out)
}

// RequestVote implements raft.Transport.
func (a addressed) RequestVote(id raft.ServerID, target raft.ServerAddress, r *raft.RequestVoteRequest, out *raft.RequestVoteResponse) error {
	return a.raftTransport.RequestVote(id, addressOf(id, target), r, out)
}

// RequestPreVote implements raft.WithPreVote.
func (a addressed) RequestPreVote(id raft.ServerID, target raft.ServerAddress, r *raft.RequestPreVoteRequest, out *raft.RequestPreVoteResponse) error {
	return a.raftTransport.RequestPreVote(id, addressOf(id, target), r, out)
}

// InstallSnapshot implements raft.Transport.
func (a addressed) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, r *raft.InstallSnapshotRequest, out *raft.InstallSnapshotResponse, data io.Reader) error {
	return a.raftTransport.InstallSnapshot(id, addressOf(id, target), r, out, data)
}

// TimeoutNow implements raft.Transport.
func (a addressed) TimeoutNow(id raft.ServerID, target raft.ServerAddress, r *raft.TimeoutNowRequest, out *raft.TimeoutNowResponse) error {
	return a.raftTransport.TimeoutNow(id, addressOf(id, target), r, out)
}

// dialServer connects to an address, and says who is meant where the address tells.
func dialServer(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	target, id, meant := strings.Cut(string(addr), addressMark)
	conn, err := net.DialTimeout("tcp", target, timeout)
	if err != nil || !meant {
		return conn, err
	}
	if err := sayMeant(conn, id, timeout); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func sayMeant(conn net.Conn, id string, timeout time.Duration) error {
	if len(id) > maxRaftID {
		return fmt.Errorf("a raft id of %d bytes", len(id))
	}
	b := binary.BigEndian.AppendUint16([]byte(meantMagic), uint16(len(id)))
	if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := conn.Write(append(b, id...)); err != nil {
		return err
	}
	return conn.SetWriteDeadline(time.Time{})
}

// meantListener accepts connections that are meant for one server.
type meantListener struct {
	net.Listener
	self raft.ServerID
}

// Accept implements net.Listener. Who is meant is read with the first message: one that
// connects and says nothing must not keep others waiting.
func (l *meantListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &meantConn{Conn: conn, self: l.self}, nil
}

// meantConn is a connection that has yet to say, or has said, who is meant.
type meantConn struct {
	net.Conn
	self raft.ServerID
	// asked is only looked at by the one goroutine that reads.
	asked bool
}

// Read implements net.Conn.
func (c *meantConn) Read(p []byte) (int, error) {
	if !c.asked {
		if err := c.ask(); err != nil {
			return 0, err
		}
		c.asked = true
	}
	return c.Conn.Read(p)
}

func (c *meantConn) ask() error {
	if err := c.SetReadDeadline(time.Now().Add(transportTimeout)); err != nil {
		return err
	}
	head := make([]byte, len(meantMagic)+2)
	if _, err := io.ReadFull(c.Conn, head); err != nil {
		return err
	}
	size := binary.BigEndian.Uint16(head[len(meantMagic):])
	if string(head[:len(meantMagic)]) != meantMagic || size > maxRaftID {
		return errors.New("this is no connection of a rota server")
	}
	id := make([]byte, size)
	if _, err := io.ReadFull(c.Conn, id); err != nil {
		return err
	}
	if raft.ServerID(id) != c.self {
		return fmt.Errorf("a message for server %s has come to %s, which has its address: a server that lost its data folder joins anew", id, c.self)
	}
	return c.SetReadDeadline(time.Time{})
}
