package transport

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// holdLimit bounds how long a request without a deadline waits for a leader.
	holdLimit = 10 * time.Second
	// lookAgain is about how long to wait for a leader before looking again.
	lookAgain = 25 * time.Millisecond
)

// atLeader runs a request where the leader is: local here, or remote, once, at the
// server that leads. While there is none it waits, up to the caller's deadline.
// errors keep their kind, and have it as a gRPC status.
func atLeader[Req, Resp any](ctx context.Context, s *Server, req Req, local func(context.Context, Req) (Resp, error),
	remote func(grpc.ClientConnInterface, context.Context, Req) (Resp, error)) (Resp, error) {
	var none Resp
	ctx, cancel := holdContext(ctx)
	defer cancel()
	for {
		changed := s.node.LeaderChanged()
		err := s.node.CheckLeader()
		if err == nil {
			resp, err := local(ctx, req)
			return resp, wire.ToStatus(err)
		}
		if forwarded(ctx) {
			return none, wire.ToStatus(err)
		}
		if leader := s.node.Leader(); leader.Addr != "" && leader.NodeID != s.node.NodeID() {
			resp, err := callLeader(ctx, s, leader.Addr, req, remote)
			// A server that has just lost its place did nothing; who leads now is
			// found out below.
			if err == nil || !errors.Is(wire.FromStatus(err), task.ErrUnavailable) {
				return resp, err
			}
		}
		select {
		case <-changed:
		case <-time.After(lookAgain/2 + rand.N(lookAgain)):
		case <-s.stopping.Done():
			return none, wire.ToStatus(task.Errorf(task.KindUnavailable, "the server is shutting down"))
		case <-ctx.Done():
			return none, wire.ToStatus(err)
		}
	}
}

func callLeader[Req, Resp any](ctx context.Context, s *Server, addr string, req Req, remote func(grpc.ClientConnInterface, context.Context, Req) (Resp, error)) (Resp, error) {
	var none Resp
	conn, err := s.peers.conn(addr)
	if err != nil {
		return none, wire.ToStatus(err)
	}
	resp, err := remote(conn, metadata.AppendToOutgoingContext(ctx, wire.ForwardedKey, "1"), req)
	if err != nil {
		return none, wire.ToStatus(wire.FromStatus(err))
	}
	return resp, nil
}

// holdContext gives a request without a deadline one.
func holdContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, holdLimit)
}

// forwarded says whether another server sent the request on.
func forwarded(ctx context.Context) bool {
	md, _ := metadata.FromIncomingContext(ctx)
	return len(md.Get(wire.ForwardedKey)) > 0
}
