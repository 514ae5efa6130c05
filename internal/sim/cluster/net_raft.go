package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// raftTimeout bounds one message of raft and its answer, as the product's transport does.
const raftTimeout = time.Second

var (
	errRefused error = &net.OpError{Op: "dial", Net: "sim", Err: errors.New("nobody listens there")}
	errReset   error = &net.OpError{Op: "read", Net: "sim", Err: errors.New("the other side has ended")}
)

// transport is raft's transport of one server, from its start to its end.
type transport struct {
	net      *Network
	addr     string
	consumer chan raft.RPC
	// ctx ends with the server.
	ctx   context.Context
	close context.CancelFunc

	mu        sync.Mutex
	heartbeat func(raft.RPC)
	// self is the raft id of the server; "": it is not up yet.
	self raft.ServerID
}

// serve sets who listens.
func (t *transport) serve(self raft.ServerID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.self = self
}

// is says whether this is the server that is meant, and not another one at its address.
func (t *transport) is(id raft.ServerID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.self == id
}

func newTransport(n *Network, addr string) *transport {
	t := &transport{net: n, addr: addr, consumer: make(chan raft.RPC, 16)}
	t.ctx, t.close = context.WithCancel(context.Background())
	n.attach(t)
	return t
}

// Close ends the transport: whoever waits for an answer learns it at once.
func (t *transport) Close() error {
	t.net.detach(t)
	t.close()
	return nil
}

// call sends one message and waits for its answer.
func (t *transport) call(id raft.ServerID, to raft.ServerAddress, timeout time.Duration, command any, body []byte) (any, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	if err := t.send(ctx, t.addr, string(to), false); err != nil {
		return nil, err
	}
	peer := t.net.transportAt(string(to))
	if peer == nil || !peer.is(id) {
		return nil, errRefused
	}
	answers := make(chan raft.RPCResponse, 1)
	peer.deliver(ctx, raft.RPC{Command: command, Reader: bytes.NewReader(body), RespChan: answers})
	var answer raft.RPCResponse
	select {
	case answer = <-answers:
	case <-peer.ctx.Done():
		return nil, errReset
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := t.send(ctx, string(to), t.addr, true); err != nil {
		return nil, err
	}
	return answer.Response, answer.Error
}

// send carries a message. One that is lost costs its sender the whole timeout.
func (t *transport) send(ctx context.Context, from, to string, answer bool) error {
	if !t.net.intercepted(ctx, from, to, answer) || t.net.carry(ctx, from, to) != nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// deliver hands a message to raft: heartbeats past the queue, as the TCP transport does.
func (t *transport) deliver(ctx context.Context, rpc raft.RPC) {
	t.mu.Lock()
	fast := t.heartbeat
	t.mu.Unlock()
	if r, ok := rpc.Command.(*raft.AppendEntriesRequest); ok && fast != nil && isHeartbeat(r) {
		go fast(rpc)
		return
	}
	select {
	case t.consumer <- rpc:
	case <-ctx.Done():
	case <-t.ctx.Done():
	}
}

func isHeartbeat(r *raft.AppendEntriesRequest) bool {
	return r.Term != 0 && r.PrevLogEntry == 0 && r.PrevLogTerm == 0 && len(r.Entries) == 0 && r.LeaderCommitIndex == 0
}

// Consumer implements raft.Transport.
func (t *transport) Consumer() <-chan raft.RPC { return t.consumer }

// LocalAddr implements raft.Transport.
func (t *transport) LocalAddr() raft.ServerAddress { return raft.ServerAddress(t.addr) }

// AppendEntriesPipeline implements raft.Transport: raft sends one message at a time then.
func (t *transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// answerTo sends a message and puts its answer into out.
func answerTo[T any](t *transport, id raft.ServerID, to raft.ServerAddress, timeout time.Duration, command any, body []byte, out *T) error {
	answer, err := t.call(id, to, timeout, command, body)
	if err != nil {
		return err
	}
	*out = *answer.(*T)
	return nil
}

// AppendEntries implements raft.Transport.
func (t *transport) AppendEntries(id raft.ServerID, to raft.ServerAddress, r *raft.AppendEntriesRequest, out *raft.AppendEntriesResponse) error {
	return answerTo(t, id, to, raftTimeout, r, nil, out)
}

// RequestVote implements raft.Transport.
func (t *transport) RequestVote(id raft.ServerID, to raft.ServerAddress, r *raft.RequestVoteRequest, out *raft.RequestVoteResponse) error {
	return answerTo(t, id, to, raftTimeout, r, nil, out)
}

// RequestPreVote implements raft.WithPreVote.
func (t *transport) RequestPreVote(id raft.ServerID, to raft.ServerAddress, r *raft.RequestPreVoteRequest, out *raft.RequestPreVoteResponse) error {
	return answerTo(t, id, to, raftTimeout, r, nil, out)
}

// TimeoutNow implements raft.Transport.
func (t *transport) TimeoutNow(id raft.ServerID, to raft.ServerAddress, r *raft.TimeoutNowRequest, out *raft.TimeoutNowResponse) error {
	return answerTo(t, id, to, raftTimeout, r, nil, out)
}

// InstallSnapshot implements raft.Transport.
func (t *transport) InstallSnapshot(id raft.ServerID, to raft.ServerAddress, r *raft.InstallSnapshotRequest, out *raft.InstallSnapshotResponse, data io.Reader) error {
	body, err := io.ReadAll(data)
	if err != nil {
		return err
	}
	return answerTo(t, id, to, 10*raftTimeout, r, body, out)
}

// EncodePeer implements raft.Transport.
func (t *transport) EncodePeer(_ raft.ServerID, a raft.ServerAddress) []byte { return []byte(a) }

// DecodePeer implements raft.Transport.
func (t *transport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler implements raft.Transport.
func (t *transport) SetHeartbeatHandler(f func(raft.RPC)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heartbeat = f
}

var _ raft.WithPreVote = (*transport)(nil)
