package transport

import (
	"context"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/node"
)

// AddServer implements the cluster service.
func (s *Server) AddServer(ctx context.Context, r *rotav1.AddServerRequest) (*rotav1.AddServerResponse, error) {
	return atLeader(ctx, s, r,
		func(ctx context.Context, r *rotav1.AddServerRequest) (*rotav1.AddServerResponse, error) {
			c, err := s.node.EntitleServer(ctx, refOf(r))
			return &rotav1.AddServerResponse{Change: changeOf(c)}, err
		},
		func(c grpc.ClientConnInterface, ctx context.Context, r *rotav1.AddServerRequest) (*rotav1.AddServerResponse, error) {
			return rotav1.NewClusterServiceClient(c).AddServer(ctx, r)
		})
}

// PromoteServer implements the cluster service.
func (s *Server) PromoteServer(ctx context.Context, r *rotav1.PromoteServerRequest) (*rotav1.PromoteServerResponse, error) {
	return atLeader(ctx, s, r,
		func(ctx context.Context, r *rotav1.PromoteServerRequest) (*rotav1.PromoteServerResponse, error) {
			c, err := s.node.PromoteServer(ctx, refOf(r))
			return &rotav1.PromoteServerResponse{Change: changeOf(c)}, err
		},
		func(c grpc.ClientConnInterface, ctx context.Context, r *rotav1.PromoteServerRequest) (*rotav1.PromoteServerResponse, error) {
			return rotav1.NewClusterServiceClient(c).PromoteServer(ctx, r)
		})
}

// DemoteServer implements the cluster service.
func (s *Server) DemoteServer(ctx context.Context, r *rotav1.DemoteServerRequest) (*rotav1.DemoteServerResponse, error) {
	return atLeader(ctx, s, r,
		func(ctx context.Context, r *rotav1.DemoteServerRequest) (*rotav1.DemoteServerResponse, error) {
			c, err := s.node.DemoteServer(ctx, refOf(r), r.GetForce())
			return &rotav1.DemoteServerResponse{Change: changeOf(c)}, err
		},
		func(c grpc.ClientConnInterface, ctx context.Context, r *rotav1.DemoteServerRequest) (*rotav1.DemoteServerResponse, error) {
			return rotav1.NewClusterServiceClient(c).DemoteServer(ctx, r)
		})
}

// RemoveServer implements the cluster service.
func (s *Server) RemoveServer(ctx context.Context, r *rotav1.RemoveServerRequest) (*rotav1.RemoveServerResponse, error) {
	return atLeader(ctx, s, r,
		func(ctx context.Context, r *rotav1.RemoveServerRequest) (*rotav1.RemoveServerResponse, error) {
			c, err := s.node.RemoveServer(ctx, refOf(r), r.GetForce())
			return &rotav1.RemoveServerResponse{Change: changeOf(c)}, err
		},
		func(c grpc.ClientConnInterface, ctx context.Context, r *rotav1.RemoveServerRequest) (*rotav1.RemoveServerResponse, error) {
			return rotav1.NewClusterServiceClient(c).RemoveServer(ctx, r)
		})
}

// refOf is the server that a request names.
func refOf(r interface {
	GetId() string
	GetServerId() string
},
) node.ServerRef {
	return node.ServerRef{NodeID: r.GetId(), ServerID: r.GetServerId()}
}

func changeOf(c node.ServerChange) *rotav1.ServerChange {
	return &rotav1.ServerChange{Id: c.NodeID, ServerId: c.ServerID, Voter: c.Voter, Removed: c.Removed, Voters: uint32(c.Voters), Note: c.Note}
}
