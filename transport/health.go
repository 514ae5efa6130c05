package transport

import (
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/transport/peerpb"
)

// Which services this server can serve now, for load balancers and for gRPC's own health checks. The server as a whole, "", is what its
// clients mostly want of it: jobs.
//
//   - "" and JobService while a leader is known: any server takes requests for it.
//   - WorkerService while this server leads and is ready: a worker has its session with the leader.
//   - ClusterService, EventService and PeerService always: they are needed most when there is no leader.

// updateHealth says which services this server can serve now.
func (s *Server) updateHealth() {
	set := func(service string, serves bool) {
		status := healthpb.HealthCheckResponse_NOT_SERVING
		if serves {
			status = healthpb.HealthCheckResponse_SERVING
		}
		s.health.SetServingStatus(service, status)
	}
	_, leads := s.node.Ready()
	known := s.node.Leader().NodeID != ""
	set("", known)
	set(rotav1.JobService_ServiceDesc.ServiceName, known)
	set(rotav1.WorkerService_ServiceDesc.ServiceName, leads)
	set(rotav1.ClusterService_ServiceDesc.ServiceName, true)
	set(rotav1.EventService_ServiceDesc.ServiceName, true)
	set(peerpb.PeerService_ServiceDesc.ServiceName, true)
}

// followHealth keeps the health service up to date until the server stops.
func (s *Server) followHealth() {
	for {
		changed := s.node.LeaderChanged()
		s.updateHealth()
		select {
		case <-s.stopping.Done():
			s.health.Shutdown()
			return
		case <-changed:
		}
	}
}
