package transport

import (
	"context"
	"time"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/transport/peerpb"
)

// fresh returns when this server's state is as fresh as a read asks for: by default so
// that the read is linearizable.
func (s *Server) fresh(ctx context.Context, o *rotav1.ReadOptions) error {
	_, err := s.freshRunning(ctx, o, 0)
	return err
}

// freshRunning is fresh, and returns which tasks of a job run, and for how long, where the
// leader was asked: nobody else knows. Job 0 has none.
func (s *Server) freshRunning(ctx context.Context, o *rotav1.ReadOptions, job uint64) (running map[uint32]time.Duration, err error) {
	if o.GetMinIndex() > 0 {
		if err := s.node.WaitApplied(ctx, o.MinIndex); err != nil {
			return nil, err
		}
	}
	if o.GetStale() {
		return nil, nil
	}
	_, err = atLeader(ctx, s, &peerpb.ReadIndexRequest{RunningOf: job},
		func(ctx context.Context, r *peerpb.ReadIndexRequest) (*peerpb.ReadIndexResponse, error) {
			running = s.node.Fleet().Running(r.RunningOf)
			return nil, s.node.Barrier(ctx)
		},
		func(c grpc.ClientConnInterface, ctx context.Context, r *peerpb.ReadIndexRequest) (*peerpb.ReadIndexResponse, error) {
			resp, err := peerpb.NewPeerServiceClient(c).ReadIndex(ctx, r)
			if err != nil {
				return nil, err
			}
			running = map[uint32]time.Duration{}
			for i, index := range resp.Running[:min(len(resp.Running), len(resp.RunTimeNs))] {
				running[index] = time.Duration(resp.RunTimeNs[i])
			}
			return resp, s.node.WaitApplied(ctx, resp.Index)
		})
	return running, err
}
