package transport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/peerpb"
	"github.com/rota-scheduler/rota/wire"
)

// Peers keeps a connection to each other server.
type Peers struct {
	opts  []grpc.DialOption
	mu    sync.Mutex
	conns map[string]*grpc.ClientConn
}

// reconnect is how soon a server connects again to one that has come back: sooner than clients, of which there are many
// more.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 200 * time.Millisecond},
	MinConnectTimeout: time.Second,
}

// NewPeers returns Peers without connections; they are made as they are needed.
func NewPeers(opts ...grpc.DialOption) *Peers {
	opts = append([]grpc.DialOption{grpc.WithConnectParams(reconnect)}, opts...)
	return &Peers{opts: opts, conns: map[string]*grpc.ClientConn{}}
}

// conn returns the connection to addr.
func (p *Peers) conn(addr string) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		return nil, task.Errorf(task.KindUnavailable, "the server is shutting down")
	}
	if c := p.conns[addr]; c != nil {
		return c, nil
	}
	c, err := wire.Dial(addr, p.opts...)
	if err != nil {
		return nil, err
	}
	p.conns[addr] = c
	return c, nil
}

// Close closes all connections.
func (p *Peers) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, c := range p.conns {
		errs = append(errs, c.Close())
	}
	p.conns = nil
	return errors.Join(errs...)
}

func (p *Peers) client(addr string) (peerpb.PeerServiceClient, error) {
	c, err := p.conn(addr)
	if err != nil {
		return nil, err
	}
	return peerpb.NewPeerServiceClient(c), nil
}

// Identify implements node.Peers.
func (p *Peers) Identify(ctx context.Context, addr string) (node.PeerInfo, error) {
	c, err := p.client(addr)
	if err != nil {
		return node.PeerInfo{}, err
	}
	return identify(ctx, c)
}

// Probe implements node.Peers. It keeps no connection: anybody may have named the address.
func (p *Peers) Probe(ctx context.Context, addr string) (info node.PeerInfo, err error) {
	if err := wire.CheckAddr(addr); err != nil {
		return info, err
	}
	c, err := wire.Dial(addr, p.opts...)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return identify(ctx, peerpb.NewPeerServiceClient(c))
}

const (
	// maxNotes bounds how many other servers a server may tell of.
	maxNotes = 2 * task.MaxServers
	// maxSaid is how much a server may say about itself, or about its state, bytes. All servers together must fit into
	// one answer, and anybody can become a server without a vote.
	maxSaid = 64 << 10
	// maxViolations bounds the violations that a server tells of, and maxViolation the length of each, bytes.
	maxViolations, maxViolation = 64, 512
)

func identify(ctx context.Context, c peerpb.PeerServiceClient) (node.PeerInfo, error) {
	r, err := c.Identify(ctx, &peerpb.IdentifyRequest{}, grpc.MaxCallRecvMsgSize(maxSaid))
	if err != nil {
		return node.PeerInfo{}, wire.FromStatus(err)
	}
	info := node.PeerInfo{
		NodeID: r.NodeId, ServerID: r.ServerId, ClusterID: r.ClusterId, Addr: r.Addr, PeerAddr: r.PeerAddr, HTTPAddr: r.HttpAddr,
		Initialized: r.Initialized, BootstrapExpect: int(r.BootstrapExpect), State: roleOf(r.State), Term: r.Term,
		AppliedIndex: r.AppliedIndex, Version: r.Version, LeaderAddr: r.LeaderAddr, LastContact: time.Duration(r.LastContactNs), Clock: unixNano(r.ClockNs), DiskFull: r.DiskFull,
		Nonce: r.Nonce, Members: r.Members, Problem: r.Problem, Knows: r.Knows,
		CommitIndex: r.CommitIndex, DiskFree: r.DiskFree, CertificateEnd: unixNano(r.CertificateEndNs),
	}
	for _, note := range r.Notes[:min(len(r.Notes), maxNotes)] {
		info.Notes = append(info.Notes, node.Note{NodeID: note.GetNodeId(), Problem: note.GetProblem()})
	}
	return info, nil
}

// unixNano is a moment; zero if the peer gave none.
func unixNano(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// Join implements node.Peers.
func (p *Peers) Join(ctx context.Context, addr string, self node.PeerInfo) error {
	c, err := p.client(addr)
	if err != nil {
		return err
	}
	resp, err := c.Join(ctx, &peerpb.JoinRequest{
		NodeId: self.NodeID, ServerId: self.ServerID, PeerAddr: self.PeerAddr, Addr: self.Addr, HttpAddr: self.HTTPAddr,
		Version: self.Version, ClusterId: self.ClusterID, Nonce: self.Nonce, Knows: self.Knows,
	})
	if err == nil && resp.Removed {
		return node.ErrRemoved
	}
	return wire.FromStatus(err)
}

func roleOf(name string) node.Role {
	if role := node.Role(name); slices.Contains(node.Roles(), role) {
		return role
	}
	return node.RoleStopped
}

// Identify implements the peer service.
func (s *Server) Identify(context.Context, *peerpb.IdentifyRequest) (*peerpb.IdentifyResponse, error) {
	p := s.node.Self()
	resp := &peerpb.IdentifyResponse{
		NodeId: p.NodeID, ServerId: p.ServerID, ClusterId: p.ClusterID, Addr: p.Addr, PeerAddr: p.PeerAddr, HttpAddr: p.HTTPAddr,
		Initialized: p.Initialized, BootstrapExpect: uint32(p.BootstrapExpect), State: string(p.State), Term: p.Term,
		AppliedIndex: p.AppliedIndex, Version: p.Version, LeaderAddr: p.LeaderAddr, LastContactNs: int64(p.LastContact), ClockNs: p.Clock.UnixNano(), DiskFull: p.DiskFull,
		Nonce: p.Nonce, Members: p.Members, Problem: p.Problem, Knows: p.Knows,
		CommitIndex: p.CommitIndex, DiskFree: p.DiskFree,
	}
	if !p.CertificateEnd.IsZero() {
		resp.CertificateEndNs = p.CertificateEnd.UnixNano()
	}
	for _, note := range p.Notes {
		resp.Notes = append(resp.Notes, &peerpb.Note{NodeId: note.NodeID, Problem: note.Problem})
	}
	return resp, nil
}

// Join implements the peer service.
func (s *Server) Join(ctx context.Context, r *peerpb.JoinRequest) (*peerpb.JoinResponse, error) {
	for _, addr := range []string{r.Addr, r.PeerAddr} {
		if err := wire.CheckAddr(addr); err != nil {
			return nil, wire.ToStatus(err)
		}
	}
	voter, err := s.node.AddServer(ctx, node.PeerInfo{
		NodeID: r.NodeId, ServerID: r.ServerId, PeerAddr: r.PeerAddr, Addr: r.Addr, HTTPAddr: r.HttpAddr,
		Version: r.Version, ClusterID: r.ClusterId, Nonce: r.Nonce, Knows: r.Knows,
	})
	switch {
	case errors.Is(err, node.ErrRemoved):
		return &peerpb.JoinResponse{Removed: true}, nil
	case err != nil:
		return nil, wire.ToStatus(err)
	}
	return &peerpb.JoinResponse{Voter: voter}, nil
}

// ReadIndex implements the peer service.
func (s *Server) ReadIndex(ctx context.Context, r *peerpb.ReadIndexRequest) (*peerpb.ReadIndexResponse, error) {
	if err := s.node.Barrier(ctx); err != nil {
		return nil, wire.ToStatus(err)
	}
	resp := &peerpb.ReadIndexResponse{Index: s.node.State().Machine().AppliedIndex()}
	s.addRunning(r, resp)
	return resp, nil
}

// addRunning adds which tasks of a job run, as the leader knows it.
func (s *Server) addRunning(r *peerpb.ReadIndexRequest, resp *peerpb.ReadIndexResponse) {
	if r.RunningOf == 0 {
		return
	}
	resp.Running = s.node.Fleet().Running(r.RunningOf)
	resp.Missing = s.missing(r.RunningOf)
	if r.RunTimeOf == nil {
		return
	}
	t, _ := s.node.State().Machine().Task(r.RunningOf, *r.RunTimeOf)
	if d, ok := s.node.Fleet().RunTime(t.Session, r.RunningOf, *r.RunTimeOf); ok {
		resp.RunTimeNs = (*int64)(&d)
	}
}

// Digest implements the peer service.
func (s *Server) Digest(ctx context.Context, r *peerpb.DigestRequest) (*peerpb.DigestResponse, error) {
	if err := s.node.WaitApplied(ctx, r.Index); err != nil {
		return nil, wire.ToStatus(err)
	}
	m := s.node.State().Machine()
	index, digest, ok := m.DigestAt(r.Checkpoint)
	if !ok {
		return nil, wire.ToStatus(task.Errorf(task.KindNotFound, "checkpoint %d is not known here any more; verify again", r.Checkpoint))
	}
	violations, err := s.walks.do(ctx)
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return &peerpb.DigestResponse{Index: index, Digest: digest, Violations: fewViolations(violations)}, nil
}

// fewViolations is as many of them as fit into an answer.
func fewViolations(all []string) (few []string) {
	for _, v := range all[:min(len(all), maxViolations)] {
		few = append(few, cutString(v, maxViolation))
	}
	if more := len(all) - len(few); more > 0 {
		few = append(few, fmt.Sprintf("and %d more", more))
	}
	return few
}
