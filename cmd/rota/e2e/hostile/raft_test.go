package hostile

import (
	"bytes"
	"context"
	be "encoding/binary"
	"math"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
)

// stranger is the id of a server that no cluster has.
const stranger raft.ServerID = "n9/0123456789abcdef"

// absurdTerm is so high that no term is left to elect a leader in.
const absurdTerm = math.MaxUint64

// fewElections bounds the terms that elections on a busy machine use during a test.
const fewElections = 1000

// status returns what the cluster reports about its servers.
func (h *harness) status() client.ClusterInfo {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	info, err := h.Client().Status(ctx)
	require.NoError(h.t, err)
	return info
}

// raftMessages is every message that one server can send to another, in a term, with entries at
// an index.
var raftMessages = map[string]func(p *raftPeer, i int, term, index uint64, entries []*raft.Log) error{
	"entries": func(p *raftPeer, i int, term, index uint64, entries []*raft.Log) error {
		id, addr := p.to(i)
		return p.AppendEntries(id, addr, &raft.AppendEntriesRequest{
			RPCHeader: p.header(), Term: term, Entries: entries, LeaderCommitIndex: index,
			Leader: p.header().Addr, //nolint:staticcheck // Raft sends it, too.
		}, &raft.AppendEntriesResponse{})
	},
	"heartbeat": func(p *raftPeer, i int, term, _ uint64, _ []*raft.Log) error {
		id, addr := p.to(i)
		return p.AppendEntries(id, addr, &raft.AppendEntriesRequest{
			RPCHeader: p.header(), Term: term,
			Leader: p.header().Addr, //nolint:staticcheck // Raft sends it, too.
		}, &raft.AppendEntriesResponse{})
	},
	"vote": func(p *raftPeer, i int, term, index uint64, _ []*raft.Log) error {
		id, addr := p.to(i)
		return p.RequestVote(id, addr, &raft.RequestVoteRequest{
			RPCHeader: p.header(), Term: term, LastLogIndex: index, LastLogTerm: term, LeadershipTransfer: true,
			Candidate: p.header().Addr, //nolint:staticcheck // Raft sends it, too.
		}, &raft.RequestVoteResponse{})
	},
	"pre-vote": func(p *raftPeer, i int, term, index uint64, _ []*raft.Log) error {
		id, addr := p.to(i)
		return p.RequestPreVote(id, addr, &raft.RequestPreVoteRequest{RPCHeader: p.header(), Term: term, LastLogIndex: index, LastLogTerm: term}, &raft.RequestPreVoteResponse{})
	},
	"transfer": func(p *raftPeer, i int, _, _ uint64, _ []*raft.Log) error {
		id, addr := p.to(i)
		return p.TimeoutNow(id, addr, &raft.TimeoutNowRequest{RPCHeader: p.header()}, &raft.TimeoutNowResponse{})
	},
	"snapshot": func(p *raftPeer, i int, term, index uint64, _ []*raft.Log) error {
		id, addr := p.to(i)
		state := strings.Repeat("no state of a scheduler ", 1000)
		return p.InstallSnapshot(id, addr, &raft.InstallSnapshotRequest{
			RPCHeader: p.header(), SnapshotVersion: 1, Term: term, Leader: p.header().Addr, LastLogIndex: index, LastLogTerm: 1, Size: int64(len(state)),
			Configuration: raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: p.id, Address: "127.0.0.1:1"}}}), ConfigurationIndex: 1,
		}, &raft.InstallSnapshotResponse{}, strings.NewReader(state))
	},
}

// garbageAt returns entries that nobody can apply, from an index on.
func garbageAt(index, term uint64) (entries []*raft.Log) {
	for k, data := range [][]byte{bytes.Repeat([]byte{0xff}, 100), nil, []byte("GET / HTTP/1.1")} {
		entries = append(entries, &raft.Log{Index: index + uint64(k), Term: term, Type: raft.LogCommand, Data: data})
	}
	return entries
}

// A peer that is not a server of the cluster gets no answer on the Raft port, whatever greeting it
// sends.
func TestServersDoNotHearStrangers(t *testing.T) {
	t.Parallel()
	for greeting := range greetings {
		t.Run(greeting, func(t *testing.T) {
			t.Parallel()
			h := start(t)
			before := h.status()
			p := newRaftPeer(t, h, stranger, greeting)
			for i := range h.PeerAddrs {
				for name, send := range raftMessages {
					require.Error(t, send(p, i, before.Term+1, before.AppliedIndex+1, nil), "%s to n%d was answered", name, i+1)
				}
			}
			h.Served(5)
		})
	}
}

// After a stranger has sent an absurd term, there still are terms to elect leaders in.
func TestServersKeepTheirTermsFromStrangers(t *testing.T) {
	t.Parallel()
	h := start(t)
	before := h.status()
	for greeting := range greetings {
		p := newRaftPeer(t, h, stranger, greeting)
		for i := range h.PeerAddrs {
			for _, send := range raftMessages {
				_ = send(p, i, absurdTerm, before.AppliedIndex+1, nil) // it is not answered
			}
		}
	}
	h.Served(5)
	require.Less(t, h.status().Term, before.Term+fewElections)
	h.Restart(h.Leader()) // this needs an election
	h.Served(5)
}

// Servers do not write entries of a stranger that it calls committed. Otherwise no server would start again.
func TestServersKeepTheirLogsFromStrangers(t *testing.T) {
	t.Parallel()
	h := start(t)
	for greeting := range greetings {
		p := newRaftPeer(t, h, stranger, greeting)
		for i := range h.PeerAddrs {
			s := h.status()
			for _, index := range []uint64{1, s.AppliedIndex + 1, s.AppliedIndex + 1000} {
				_ = raftMessages["entries"](p, i, s.Term+1, index, garbageAt(index, s.Term+1)) // it is not answered
			}
		}
	}
	h.Served(5)
	for i := range h.PeerAddrs {
		h.Restart(i)
	}
	h.Served(5)
}

// Until there is TLS, a peer needs only an id to pass for a server of the cluster. Even then it can neither use up
// terms nor make servers write entries that nobody can apply.
func TestServersSurviveOneThatPassesForAnother(t *testing.T) {
	t.Parallel()
	h := start(t)
	before := h.status()
	_, ids := h.raftIDs()
	for i := range h.PeerAddrs {
		for greeting := range greetings {
			p := newRaftPeer(t, h, ids[(i+1)%servers], greeting)
			for name, send := range raftMessages {
				if name == "transfer" {
					continue // this message has no term
				}
				for _, term := range []uint64{absurdTerm, absurdTerm / 2, before.Term + 1<<40} {
					require.Error(t, send(p, i, term, before.AppliedIndex+1, nil), "%s to n%d in term %d was answered", name, i+1, term)
				}
			}
			s := h.status()
			for _, index := range []uint64{1, s.AppliedIndex + 1, s.AppliedIndex + 1000} {
				require.Error(t, raftMessages["entries"](p, i, s.Term+1, index, garbageAt(index, s.Term+1)), "garbage was taken")
			}
		}
	}
	h.Served(5)
	require.Less(t, h.status().Term, before.Term+fewElections)
	for i := range h.PeerAddrs {
		h.Restart(i)
	}
	h.Served(5)
}

// hugeLengths are first bytes of messages, each with a length that no message has.
func hugeLengths(id raft.ServerID) map[string][]byte {
	field := func(name string) []byte { return append([]byte{0xa0 | byte(len(name))}, name...) }
	huge := func(kind byte, before []byte, code byte) []byte {
		b := append(append([]byte{kind, 0x83}, field("ID")...), append([]byte{0xc4, byte(len(id))}, id...)...)
		return be.BigEndian.AppendUint32(append(append(b, before...), code), math.MaxUint32)
	}
	const raw, array, fields = 0xc6, 0xdd, 0xdf
	return map[string][]byte{
		"an entry":          huge(0, append(field("Entries"), append([]byte{0x91, 0x81}, field("Data")...)...), raw),
		"entries":           huge(0, field("Entries"), array),
		"an unknown field":  huge(0, field("Unknown"), raw),
		"a name of a field": huge(0, nil, 0xdb),
		"a candidate":       huge(1, field("Candidate"), raw),
		"a configuration":   huge(2, field("Configuration"), raw),
		"peers":             huge(2, field("Peers"), array),
		"an address":        huge(3, field("Addr"), raw),
		"fields":            huge(4, field("Addr"), fields),
		"a message":         be.BigEndian.AppendUint32([]byte{0, fields}, math.MaxUint32),
	}
}

// hugeBytes is how much follows a huge length, for a server that reads on.
const hugeBytes = 2 << 30

// No length ends a server, whoever sends it.
func TestServersSurviveHugeLengths(t *testing.T) {
	t.Parallel()
	h := start(t)
	cluster, ids := h.raftIDs()
	page := make([]byte, 1<<20)
	for i := range h.PeerAddrs {
		for _, from := range []raft.ServerID{stranger, ids[(i+1)%servers]} {
			for name, message := range hugeLengths(from) {
				for greeting, hello := range greetings {
					conn, err := net.Dial("tcp", h.PeerAddrs[i])
					require.NoError(t, err)
					require.NoError(t, conn.SetDeadline(time.Now().Add(within)))
					_, err = conn.Write(append(hello(ids[i], from, cluster), message...))
					for sent := 0; err == nil && sent < hugeBytes; sent += len(page) {
						_, err = conn.Write(page)
					}
					require.Error(t, err, "all of %s was read (%s)", name, greeting)
					require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "%s: the connection is still open (%s)", name, greeting)
					_ = conn.Close()
				}
			}
		}
	}
	h.Served(5)
}
