package transport

import (
	"context"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/transport/peerpb"
)

// fresh returns when this server's state is as fresh as a read asks for: by default so
// that the read is linearizable.
func (s *Server) fresh(ctx context.Context, o *rotav1.ReadOptions) error {
	if o.GetMinIndex() > 0 {
		if err := s.node.WaitApplied(ctx, o.MinIndex); err != nil {
			return err
		}
	}
	if o.GetStale() {
		return nil
	}
	_, err := atLeader(ctx, s, &peerpb.ReadIndexRequest{},
		func(ctx context.Context, r *peerpb.ReadIndexRequest) (*peerpb.ReadIndexResponse, error) {
			return nil, s.node.Barrier(ctx)
		},
		func(c grpc.ClientConnInterface, ctx context.Context, r *peerpb.ReadIndexRequest) (*peerpb.ReadIndexResponse, error) {
			resp, err := peerpb.NewPeerServiceClient(c).ReadIndex(ctx, r)
			if err != nil {
				return nil, err
			}
			return resp, s.node.WaitApplied(ctx, resp.Index)
		})
	return err
}
