package raftnet

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// heartbeatWait is how long a heartbeat waits for raft before it is answered without raft: far less than a leader's
// lease, and more than an entry takes to be written.
const heartbeatWait = 50 * time.Millisecond

// serialHeartbeats is raft's transport with heartbeats that go the way of all messages.
//
// Raft handles heartbeats on the transport's goroutine, beside its own, so that they do not wait for the disk. A
// heartbeat of a later term then deposes a leader in the middle of its work: the old leader goes on to write its
// entries, under a term of another leader (https://github.com/hashicorp/raft/issues/695). The other leader's entry
// at that place has the same index and the same term, so it passes for the same entry, and the two servers differ
// from there on. Here raft's own goroutine handles heartbeats. While it is busy with the disk, a heartbeat that
// changes nothing is answered without it.
type serialHeartbeats struct {
	Base
	// t is the transport that this belongs to: it checks requests, and knows raft.
	t      *Transport
	rpcs   chan raft.RPC
	id     raft.ServerID
	once   sync.Once
	closed chan struct{}
}

func newSerialHeartbeats(inner Base, id raft.ServerID, t *Transport) *serialHeartbeats {
	s := &serialHeartbeats{Base: inner, t: t, rpcs: make(chan raft.RPC), id: id, closed: make(chan struct{})}
	go s.forward()
	return s
}

func (s *serialHeartbeats) forward() {
	for {
		select {
		case rpc := <-s.Base.Consumer():
			if err := s.t.admission.checkRequest(rpc); err != nil {
				refuseRPC(rpc, err)
				continue
			}
			if r, ok := rpc.Command.(*raft.RequestPreVoteRequest); ok {
				if w := s.t.watch.Load(); w != nil {
					if err := w.preVote(r); err != nil {
						refuseRPC(rpc, err)
						continue
					}
				}
			}
			s.pass(rpc, nil)
		case <-s.closed:
			return
		}
	}
}

// pass gives a message to raft. It is false if raft did not take it in time.
func (s *serialHeartbeats) pass(rpc raft.RPC, timeout <-chan time.Time) bool {
	select {
	case s.rpcs <- rpc:
		return true
	case <-s.closed:
		return true
	case <-timeout:
		return false
	}
}

// Consumer implements raft.Transport.
func (s *serialHeartbeats) Consumer() <-chan raft.RPC { return s.rpcs }

// SetHeartbeatHandler implements raft.Transport. Raft's handler is not used.
func (s *serialHeartbeats) SetHeartbeatHandler(func(raft.RPC)) {
	s.Base.SetHeartbeatHandler(s.heartbeat)
}

func (s *serialHeartbeats) heartbeat(rpc raft.RPC) {
	if err := s.t.admission.checkRequest(rpc); err != nil {
		refuseRPC(rpc, err)
		return
	}
	timer := time.NewTimer(heartbeatWait)
	defer timer.Stop()
	if s.pass(rpc, timer.C) {
		return
	}
	if resp := s.follows(rpc.Command); resp != nil {
		rpc.Respond(resp, nil)
		return
	}
	s.pass(rpc, nil)
}

// follows returns the answer to a heartbeat that tells nothing new; nil: it tells something new. The answer says no more than that
// this server follows that leader.
func (s *serialHeartbeats) follows(command any) *raft.AppendEntriesResponse {
	r := s.t.raft.Load()
	hb, ok := command.(*raft.AppendEntriesRequest)
	if r == nil || !ok {
		return nil
	}
	leader, _ := r.LeaderWithID()
	if r.State() != raft.Follower || r.CurrentTerm() != hb.Term || leader != s.DecodePeer(hb.Addr) {
		return nil
	}
	return &raft.AppendEntriesResponse{
		RPCHeader: raft.RPCHeader{ProtocolVersion: hb.ProtocolVersion, ID: []byte(s.id), Addr: s.EncodePeer(s.id, s.LocalAddr())},
		Term:      hb.Term, LastLog: r.LastIndex(), Success: true,
	}
}

// Close implements raft.WithClose.
func (s *serialHeartbeats) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Base.Close()
}
