package transport

import (
	"context"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/transport/peerpb"
	"github.com/rota-scheduler/rota/wire"
)

// fresh returns when this server's state is as fresh as a read asks for: by default so
// that the read is linearizable.
func (s *Server) fresh(ctx context.Context, o *rotav1.ReadOptions) error {
	_, err := s.freshRunning(ctx, o, &peerpb.ReadIndexRequest{})
	return err
}

// freshRunning is fresh, and returns which tasks run, if the leader was asked: only the leader knows.
func (s *Server) freshRunning(ctx context.Context, o *rotav1.ReadOptions, r *peerpb.ReadIndexRequest) (*peerpb.ReadIndexResponse, error) {
	if err := wire.CheckKnown(o); err != nil {
		return nil, err
	}
	if o.GetMinIndex() > 0 {
		if err := s.node.WaitApplied(ctx, o.MinIndex); err != nil {
			return nil, err
		}
	}
	if o.GetStale() {
		return nil, nil
	}
	return atLeader(ctx, s, r,
		func(ctx context.Context, r *peerpb.ReadIndexRequest) (*peerpb.ReadIndexResponse, error) {
			if err := s.node.Barrier(ctx); err != nil {
				return nil, err
			}
			resp := &peerpb.ReadIndexResponse{}
			s.addRunning(r, resp)
			return resp, nil
		},
		func(c grpc.ClientConnInterface, ctx context.Context, r *peerpb.ReadIndexRequest) (*peerpb.ReadIndexResponse, error) {
			resp, err := peerpb.NewPeerServiceClient(c).ReadIndex(ctx, r)
			if err != nil {
				return nil, err
			}
			return resp, s.node.WaitApplied(ctx, resp.Index)
		})
}
