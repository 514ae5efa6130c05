package transport

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
)

// ListWorkers implements the worker service. It is answered by the leader, who alone
// knows who is connected and what runs.
func (s *Server) ListWorkers(ctx context.Context, r *rotav1.ListWorkersRequest) (*rotav1.ListWorkersResponse, error) {
	return atLeader(ctx, s, r,
		func(ctx context.Context, r *rotav1.ListWorkersRequest) (*rotav1.ListWorkersResponse, error) {
			if err := s.node.Barrier(ctx); err != nil {
				return nil, err
			}
			m := s.node.State().Machine()
			resp := &rotav1.ListWorkersResponse{AppliedIndex: m.AppliedIndex()}
			for _, session := range m.Sessions() {
				if r.GetWorker() == "" || r.GetWorker() == session.Worker || r.GetWorker() == session.Name {
					resp.Workers = append(resp.Workers, s.workerOf(session))
				}
			}
			return resp, nil
		},
		func(c grpc.ClientConnInterface, ctx context.Context, r *rotav1.ListWorkersRequest) (*rotav1.ListWorkersResponse, error) {
			return rotav1.NewWorkerServiceClient(c).ListWorkers(ctx, r)
		})
}

func (s *Server) workerOf(session fsm.Session) *rotav1.Worker {
	w := &rotav1.Worker{
		Id: session.Worker, Name: session.Name, SessionId: session.Id, Slots: session.Slots, Assigned: session.Assigned,
		Labels: map[string]string{}, Handlers: session.Handlers, Commands: session.Commands, Queues: session.Queues,
		Version: session.Version, OpenedAt: stamp(session.OpenedNs),
	}
	for _, l := range session.Labels {
		w.Labels[l.Key] = l.Value
	}
	if st, ok := s.node.Fleet().Status(session.Id); ok {
		w.Connected, w.LastBeat, w.Running = st.Connected, durationpb.New(st.LastBeat), uint32(len(st.Running))
		for _, r := range st.Running {
			w.RunningTasks = append(w.RunningTasks, &rotav1.RunningTask{JobId: r.Job, Index: r.Index, RunTime: durationpb.New(r.For)})
		}
	}
	return w
}
