package hostile

import (
	be "encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// raftTimeout bounds one message of a hostile server, and its answer.
const raftTimeout = 2 * time.Second

// raftPeer is a hostile server that speaks raft's protocol to the servers of a cluster, under any
// id.
type raftPeer struct {
	*raft.NetworkTransport
	h *harness
	// id is the id that it claims.
	id raft.ServerID
	// cluster is the cluster that it claims to belong to, and servers the ids of its servers.
	cluster string
	servers []raft.ServerID
}

// greetings are the ways to begin a connection: as this build does, as earlier builds did, which
// took anybody, and without a greeting.
var greetings = map[string]func(meant, from raft.ServerID, cluster string) []byte{
	"introduced": func(meant, from raft.ServerID, cluster string) []byte {
		return lengthed("ROT2", string(meant), string(from), cluster)
	},
	"meant only": func(meant, _ raft.ServerID, _ string) []byte { return lengthed("ROTA", string(meant)) },
	"bare":       func(raft.ServerID, raft.ServerID, string) []byte { return nil },
}

func lengthed(magic string, parts ...string) []byte {
	b := []byte(magic)
	for _, p := range parts {
		b = append(be.BigEndian.AppendUint16(b, uint16(len(p))), p...)
	}
	return b
}

// raftDialer connects as a hostile server. An address ends in # and the id of the server that is meant.
type raftDialer struct {
	net.Listener
	hello func(meant raft.ServerID) []byte
}

// Dial implements raft.StreamLayer.
func (d *raftDialer) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	target, meant, _ := strings.Cut(string(addr), "#")
	conn, err := net.DialTimeout("tcp", target, timeout)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(d.hello(raft.ServerID(meant))); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// newRaftPeer returns a hostile server that begins its connections in one way.
func newRaftPeer(t *testing.T, h *harness, id raft.ServerID, greeting string) *raftPeer {
	t.Helper()
	p := &raftPeer{h: h, id: id}
	p.cluster, p.servers = h.raftIDs()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p.NetworkTransport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: &raftDialer{l, func(meant raft.ServerID) []byte {
			return greetings[greeting](meant, p.id, p.cluster)
		}},
		MaxPool: 1, Timeout: raftTimeout, Logger: hclog.NewNullLogger(), MsgpackUseNewTimeFormat: true,
	})
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

// header is the header of its messages.
func (p *raftPeer) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(p.id), Addr: []byte("127.0.0.1:1")}
}

// to is the address of a server, with its id.
func (p *raftPeer) to(i int) (raft.ServerID, raft.ServerAddress) {
	id := p.servers[i]
	return id, raft.ServerAddress(p.h.PeerAddrs[i] + "#" + string(id))
}

// raftIDs returns the id of the cluster, and raft's id of each server.
func (h *harness) raftIDs() (cluster string, ids []raft.ServerID) {
	h.t.Helper()
	info := h.status()
	for i, addr := range h.PeerAddrs {
		for _, s := range info.Servers {
			if s.PeerAddr == addr {
				ids = append(ids, raft.ServerID(s.ID+"/"+s.ServerID))
			}
		}
		require.Len(h.t, ids, i+1, "server %d is not part of the cluster", i)
	}
	return info.ID, ids
}
