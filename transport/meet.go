package transport

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/peerpb"
	"github.com/rota-scheduler/rota/wire"
)

// Meet implements node.Peers.
func (p *Peers) Meet(ctx context.Context, addr string, m node.Meeting) (node.Met, error) {
	c, err := p.client(addr)
	if err != nil {
		return node.Met{}, err
	}
	r, err := c.Meet(ctx, &peerpb.MeetRequest{
		NodeId: m.From.NodeID, ServerId: m.From.ServerID, ClusterId: m.From.ClusterID,
		Addr: m.From.Addr, PeerAddr: m.From.PeerAddr, Nonce: m.From.Nonce, Places: placesToProto(m.Places),
	})
	switch {
	case status.Code(err) == codes.Unimplemented:
		return node.Met{}, task.Errorf(task.KindUnsupported, "the server at %s is of a build that does not look for other servers", addr)
	case err != nil:
		return node.Met{}, wire.FromStatus(err)
	}
	return node.Met{Found: r.Found, Places: placesFromProto(r.Places), Sees: r.Sees}, nil
}

// Meet implements the peer service.
func (s *Server) Meet(ctx context.Context, r *peerpb.MeetRequest) (*peerpb.MeetResponse, error) {
	met, err := s.node.Meet(ctx, node.Meeting{
		From: node.PeerInfo{
			NodeID: r.NodeId, ServerID: r.ServerId, ClusterID: r.ClusterId, Addr: r.Addr, PeerAddr: r.PeerAddr, Nonce: r.Nonce,
		},
		Places: placesFromProto(r.Places),
	})
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return &peerpb.MeetResponse{Found: met.Found, Places: placesToProto(met.Places), Sees: met.Sees}, nil
}

func placesToProto(places []node.Place) (out []*peerpb.Place) {
	for _, p := range places {
		out = append(out, &peerpb.Place{RaftId: string(p.ID), Addr: p.Addr, PeerAddr: p.PeerAddr})
	}
	return out
}

func placesFromProto(places []*peerpb.Place) (out []node.Place) {
	for _, p := range places {
		out = append(out, node.NewPlace(p.GetRaftId(), p.GetAddr(), p.GetPeerAddr()))
	}
	return out
}
