package transport

import (
	"context"
	"encoding/base64"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// ListWorkers implements the worker service. The leader answers it: only the leader knows who is connected and what
// runs.
func (s *Server) ListWorkers(ctx context.Context, r *rotav1.ListWorkersRequest) (*rotav1.ListWorkersResponse, error) {
	p, err := newPage(r.GetPageSize())
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	after, err := base64.RawURLEncoding.DecodeString(r.GetPageToken())
	if err != nil {
		return nil, wire.ToStatus(errPageToken)
	}
	return atLeader(ctx, s, r,
		func(ctx context.Context, r *rotav1.ListWorkersRequest) (*rotav1.ListWorkersResponse, error) {
			if err := s.node.Barrier(ctx); err != nil {
				return nil, err
			}
			return s.listWorkers(r.GetWorker(), string(after), *p), nil
		},
		func(c grpc.ClientConnInterface, ctx context.Context, r *rotav1.ListWorkersRequest) (*rotav1.ListWorkersResponse, error) {
			return rotav1.NewWorkerServiceClient(c).ListWorkers(ctx, r)
		})
}

// listWorkers fills a page with workers whose ids come after one; with wanted, only with those that have it as id or name.
// It looks through all workers, of which there are a bounded number.
func (s *Server) listWorkers(wanted, after string, p page) *rotav1.ListWorkersResponse {
	m := s.node.State().Machine()
	resp := &rotav1.ListWorkersResponse{AppliedIndex: m.AppliedIndex()}
	for {
		sessions := m.SessionsBehind(after, scanBatch)
		for _, session := range sessions {
			if wanted != "" && wanted != session.Worker && wanted != session.Name {
				continue
			}
			if p.full() {
				resp.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(resp.Workers[len(resp.Workers)-1].Id))
				return resp
			}
			w := s.workerOf(session)
			resp.Workers = append(resp.Workers, w)
			p.add(w)
		}
		if len(sessions) < scanBatch {
			return resp
		}
		after = sessions[len(sessions)-1].Worker
	}
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
		w.Connected, w.LastBeat, w.Running = st.Connected, durationpb.New(st.LastBeat), min(uint32(st.Started), w.Assigned)
		w.State = &rotav1.WorkerState{Unhealthy: st.Unhealthy, Draining: st.Draining}
		for _, r := range st.Running[:min(len(st.Running), task.MaxSlots)] {
			w.RunningTasks = append(w.RunningTasks, &rotav1.RunningTask{JobId: r.Job, Index: r.Index, RunTime: durationpb.New(r.For)})
		}
	}
	return w
}
