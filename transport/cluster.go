package transport

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/peerpb"
	"github.com/rota-scheduler/rota/wire"
)

// Status implements the cluster service. Any server answers it, from what the servers say about themselves now: it is
// needed most when there is no leader.
func (s *Server) Status(ctx context.Context, _ *rotav1.StatusRequest) (*rotav1.StatusResponse, error) {
	peers, err := s.node.Peers(ctx)
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	self := s.node.Self()
	resp := &rotav1.StatusResponse{Leader: s.node.Leader().NodeID, Term: self.Term, ClusterId: self.ClusterID, AppliedIndex: self.AppliedIndex, Waiting: s.node.Waiting(), ActiveVersion: s.node.State().Machine().ActiveVersion()}
	notes := map[string]string{}
	for _, p := range peers {
		if !p.Voter {
			continue // anybody can become such a server, and say anything about others
		}
		for _, note := range p.Info.Notes {
			notes[note.NodeID] = note.Problem
		}
	}
	furthest := self.AppliedIndex
	for _, p := range peers {
		if p.Voter {
			furthest = max(furthest, p.Info.AppliedIndex)
		}
	}
	for _, p := range peers {
		told := serverOf(p, notes[p.NodeID])
		if p.Err == nil {
			told.Lag = furthest - min(furthest, p.Info.AppliedIndex)
		}
		if p.NoVote != "" {
			// First, because what it says about itself may be long.
			told.Problem = strings.TrimSuffix(p.NoVote+". "+told.Problem, ". ")
		}
		resp.Servers = append(resp.Servers, told)
	}
	return resp, nil
}

// serverOf is what a server says about itself or, if it does not answer, what is recorded of it. note is what the leader
// knows of it.
func serverOf(p node.PeerStatus, note string) *rotav1.Server {
	out := &rotav1.Server{
		Id: p.NodeID, ServerId: p.ServerID, PeerAddr: p.PeerAddr, Voter: p.Voter, State: rotav1.ServerState_SERVER_STATE_UNREACHABLE,
		Addr: p.Record.GetAddr(), HttpAddr: p.Record.GetHttpAddr(), Version: p.Record.GetVersion(), Problem: note,
	}
	if p.Err != nil {
		if out.Problem == "" {
			out.Problem = p.Err.Error()
		}
		return out
	}
	if p.Info.Problem != "" {
		out.Problem = p.Info.Problem
	}
	switch state := p.Info.State; {
	case p.Voter && state == node.RoleLeader: // a server without a vote is no leader, whatever it says
		out.State = rotav1.ServerState_SERVER_STATE_LEADER
	case p.Voter && state == node.RoleCandidate:
		out.State = rotav1.ServerState_SERVER_STATE_CANDIDATE
	default:
		out.State = rotav1.ServerState_SERVER_STATE_FOLLOWER
	}
	out.Addr, out.HttpAddr, out.AppliedIndex, out.Version, out.Term = p.Info.Addr, p.Info.HTTPAddr, p.Info.AppliedIndex, p.Info.Version, p.Info.Term
	out.Knows = max(p.Info.Knows, fsm.GateVersion-1) // builds from before the gate do not say
	out.CommitIndex, out.DiskFree = p.Info.CommitIndex, p.Info.DiskFree
	if end := p.Info.CertificateEnd; !end.IsZero() {
		out.CertificateEnd = timestamppb.New(end)
	}
	if p.Info.State != node.RoleLeader {
		out.LastContact = durationpb.New(p.Info.LastContact)
	}
	return out
}

// WatchLeader implements the cluster service.
func (s *Server) WatchLeader(_ *rotav1.WatchLeaderRequest, stream grpc.ServerStreamingServer[rotav1.WatchLeaderResponse]) error {
	ctx, cancel := s.streamContext(stream.Context())
	defer cancel()
	return wire.ToStatus(s.within(ctx, func() error { return s.watchLeader(ctx, stream) }))
}

// watchLeader sends who leads, and which servers there are, whenever that changes.
func (s *Server) watchLeader(ctx context.Context, stream grpc.ServerStreamingServer[rotav1.WatchLeaderResponse]) error {
	var last node.Leader
	var servers []string
	for first := true; ; first = false {
		changed := s.node.LeaderChanged()
		known := s.node.Addrs()
		// Nobody can use a leader without an address.
		if l := s.node.Leader(); first || l != last && (l.NodeID == "" || l.Addr != "") || !slices.Equal(known, servers) {
			last, servers = l, known
			msg := &rotav1.WatchLeaderResponse{
				Term: l.Term, Leader: l.NodeID, LeaderAddr: l.Addr, Workers: uint32(s.node.State().Machine().Stats().Sessions),
				Servers: known, ClusterId: s.node.State().Machine().ClusterID(),
			}
			if err := stream.Send(msg); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return s.ended(ctx)
		}
	}
}

// TransferLeader implements the cluster service.
func (s *Server) TransferLeader(ctx context.Context, r *rotav1.TransferLeaderRequest) (*rotav1.TransferLeaderResponse, error) {
	return atLeader(ctx, s, r, s.transferLeader,
		func(c grpc.ClientConnInterface, ctx context.Context, r *rotav1.TransferLeaderRequest) (*rotav1.TransferLeaderResponse, error) {
			return rotav1.NewClusterServiceClient(c).TransferLeader(ctx, r)
		})
}

// transferLeader hands leadership over and waits until this server knows the new leader.
func (s *Server) transferLeader(ctx context.Context, r *rotav1.TransferLeaderRequest) (*rotav1.TransferLeaderResponse, error) {
	before := s.node.Leader()
	if err := s.node.RequestTransfer(ctx, r.GetTo()); err != nil {
		return nil, err
	}
	for {
		changed := s.node.LeaderChanged()
		l := s.node.Leader()
		if l.NodeID != "" && (l.Term > before.Term || l.NodeID == r.GetTo()) {
			return &rotav1.TransferLeaderResponse{Leader: l.NodeID, Term: l.Term}, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, &task.Error{Kind: task.KindUnknownOutcome, Msg: "leadership was given up, and who has it now is not known yet: see rota cluster status", Err: ctx.Err()}
		}
	}
}

// verifyTimeout bounds how long the checkpoint may take to be committed, and how long one server may take to reach it.
const verifyTimeout = 10 * time.Second

// Verify implements the cluster service.
func (s *Server) Verify(ctx context.Context, r *rotav1.VerifyRequest) (*rotav1.VerifyResponse, error) {
	return atLeader(ctx, s, r,
		func(ctx context.Context, _ *rotav1.VerifyRequest) (*rotav1.VerifyResponse, error) {
			return s.verifies.do(ctx)
		},
		func(c grpc.ClientConnInterface, ctx context.Context, r *rotav1.VerifyRequest) (*rotav1.VerifyResponse, error) {
			return rotav1.NewClusterServiceClient(c).Verify(ctx, r)
		})
}

// verify puts a checkpoint into the log, at which every server notes its digest, and
// asks each for it.
func (s *Server) verify() (*rotav1.VerifyResponse, error) {
	ctx, cancel := context.WithTimeout(s.stopping, verifyTimeout)
	defer cancel()
	id := rand.Uint64()
	res, err := s.node.Propose(ctx, &logpb.Op{Op: &logpb.Op_Checkpoint{Checkpoint: &logpb.Checkpoint{Id: id}}})
	if err != nil {
		return nil, err
	}
	peers, err := s.node.Peers(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel = context.WithTimeout(s.stopping, verifyTimeout)
	defer cancel()
	resp := &rotav1.VerifyResponse{Index: res.Index, Servers: make([]*rotav1.ServerDigest, len(peers))}
	var wg sync.WaitGroup
	for i, p := range peers {
		wg.Go(func() { resp.Servers[i] = s.digestOf(ctx, p, &peerpb.DigestRequest{Checkpoint: id, Index: res.Index}) })
	}
	wg.Wait()
	resp.Ok = true
	for i, d := range resp.Servers {
		if d.Error != "" && !peers[i].Voter {
			continue
		}
		resp.Ok = resp.Ok && d.Error == "" && d.Digest == resp.Servers[0].Digest && len(d.Violations) == 0
	}
	return resp, nil
}

func (s *Server) digestOf(ctx context.Context, p node.PeerStatus, r *peerpb.DigestRequest) *rotav1.ServerDigest {
	out := &rotav1.ServerDigest{Id: p.NodeID}
	d, err := s.askDigest(ctx, p, r)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	out.Index, out.Digest, out.Violations = d.Index, d.Digest, d.Violations
	return out
}

func (s *Server) askDigest(ctx context.Context, p node.PeerStatus, r *peerpb.DigestRequest) (*peerpb.DigestResponse, error) {
	if p.Err != nil {
		return nil, p.Err
	}
	if p.NodeID == s.node.NodeID() {
		return s.Digest(ctx, r)
	}
	// Not the address that it gives now: it may give another one each time.
	addr := p.Record.GetAddr()
	if addr == "" {
		addr = p.Info.Addr
	}
	c, err := s.peers.client(addr)
	if err != nil {
		return nil, err
	}
	d, err := c.Digest(ctx, r, grpc.MaxCallRecvMsgSize(maxSaid))
	return d, wire.FromStatus(err)
}
