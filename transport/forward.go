package transport

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/access"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// holdLimit bounds how long a request without a deadline waits for a leader.
	holdLimit = 10 * time.Second
	// lookAgain is about how long to wait before asking again who leads.
	lookAgain = 25 * time.Millisecond
	// lookForLong is how often to check whether there has been no leader for long.
	lookForLong = 250 * time.Millisecond
	// deposedGrace is how long a leader may still answer a forwarded request after another server has become leader:
	// the answer may be on its way.
	deposedGrace = 100 * time.Millisecond
)

var (
	// errDeposed ends a request that was forwarded to a server that does not lead any more.
	errDeposed = errors.New("another server has become leader")
	// errLeaderless ends a request that was forwarded to a leader that is not heard any more.
	errLeaderless = errors.New("the leader is not heard of")
)

// atLeader runs a request at the leader: local if this server leads, else remote, once, at the server that leads. During
// an election it waits, up to the caller's deadline. If this server has not heard of a leader for longer, it says so,
// and the caller may try another server. If this server leads and the disks of a majority are full, it says that at
// once. Errors keep their kind and become a gRPC status.
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
		if forwarded(ctx) || errors.Is(err, task.ErrExhausted) {
			return none, wire.ToStatus(err)
		}
		if leader := s.node.Leader(); leader.Addr != "" && leader.NodeID != s.node.NodeID() {
			resp, err := callLeader(ctx, s, leader.Addr, req, remote)
			// A server that has just lost its leadership did nothing. Who leads now is found out below.
			if err == nil || !errors.Is(wire.FromStatus(err), task.ErrUnavailable) {
				return resp, err
			}
		}
		if s.node.Leaderless() {
			return none, wire.ToStatus(err)
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
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.begun.Go(func() { s.giveUpDeposed(ctx, cancel, addr) })
	out, err := access.Forward(metadata.AppendToOutgoingContext(ctx, wire.ForwardedKey, "1"))
	if err != nil {
		return none, wire.ToStatus(err)
	}
	resp, err := remote(conn, out, req)
	switch {
	case err == nil:
		return resp, nil
	case errors.Is(context.Cause(ctx), errDeposed), errors.Is(context.Cause(ctx), errLeaderless):
		return none, wire.ToStatus(&task.Error{
			Kind: task.KindUnknownOutcome, Leader: s.node.Leader().Addr,
			Msg: "the leader was lost while the request was under way: it may or may not have taken effect",
		})
	}
	return none, wire.ToStatus(wire.FromStatus(err))
}

// giveUpDeposed cancels a request to the server at addr once another server leads, or nobody has led for long. A leader
// that is paused or cut off does not answer, and it takes long until its connections break.
func (s *Server) giveUpDeposed(ctx context.Context, cancel context.CancelCauseFunc, addr string) {
	look := time.NewTicker(lookForLong)
	defer look.Stop()
	for {
		changed := s.node.LeaderChanged()
		if leader := s.node.Leader().Addr; leader != "" && leader != addr {
			break
		}
		select {
		case <-changed:
		case <-look.C:
			if s.node.Leaderless() {
				cancel(errLeaderless)
				return
			}
		case <-ctx.Done():
			return
		}
	}
	select {
	case <-time.After(deposedGrace):
		cancel(errDeposed)
	case <-ctx.Done():
	}
}

// holdContext gives a request without a deadline one.
func holdContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, holdLimit)
}

// forwarded says whether another server has forwarded the request.
func forwarded(ctx context.Context) bool {
	md, _ := metadata.FromIncomingContext(ctx)
	return len(md.Get(wire.ForwardedKey)) > 0
}
