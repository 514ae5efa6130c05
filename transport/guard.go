package transport

import (
	"context"
	"time"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/transport/access"
	"github.com/rota-scheduler/rota/wire"
)

// freshTimeout bounds how long a call waits for this server to catch up because its token or its job is not known here.
const freshTimeout = 2 * time.Second

// accessState is what the guard knows of the cluster.
type accessState struct{ s *Server }

// AccessToken implements access.State.
func (a accessState) AccessToken(hash []byte) (*logpb.AccessToken, bool) {
	return a.s.node.State().Machine().AccessToken(hash)
}

// AccessChanged implements access.State.
func (a accessState) AccessChanged() <-chan struct{} {
	return a.s.node.State().Watchers().AccessChanged()
}

// Now implements access.State.
func (a accessState) Now() int64 { return a.s.node.Now() }

// Fresh implements access.State. Callers share one question to the leader at a time, with a pause between two.
func (a accessState) Fresh(ctx context.Context) error {
	_, err := a.s.freshens.do(ctx)
	return err
}

// QueueOf implements access.State.
func (a accessState) QueueOf(job uint64) (string, error) {
	rec, err := a.s.node.State().Job(job)
	if err != nil {
		return "", err
	}
	spec, err := a.s.node.State().Spec(rec)
	if err != nil {
		return "", err
	}
	return spec.Queue, nil
}

// freshen makes the state of this server as fresh as the leader's.
func (s *Server) freshen() (struct{}, error) {
	ctx, cancel := context.WithTimeout(s.stopping, freshTimeout)
	defer cancel()
	return struct{}{}, wire.FromStatus(s.fresh(ctx, &rotav1.ReadOptions{}))
}

// guardOptions are the interceptors that decide who may make which call; none if nobody is asked.
func (s *Server) guardOptions() []grpc.ServerOption {
	if s.guard == nil {
		return nil
	}
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(s.guard.Unary), grpc.ChainStreamInterceptor(s.guard.Stream)}
}

// setRules gives the guard the rule of each call.
func (s *Server) setRules(g *grpc.Server) error {
	rules, err := access.RulesOf(g.GetServiceInfo())
	if err != nil {
		return err
	}
	if s.guard != nil {
		s.guard.SetRules(rules)
		s.wg.Go(func() { s.guard.Run(s.stopping) })
	}
	return nil
}

// Guard decides who may make which call; nil: nobody is asked.
func (s *Server) Guard() *access.Guard { return s.guard }

// checkHello refuses a worker whose credentials are not for all queues that it serves.
func checkHello(ctx context.Context, h *rotav1.Hello) error {
	call := access.CallOf(ctx)
	if len(h.GetQueues()) == 0 {
		return call.CheckAllQueues("the worker serves all queues, so name those that it is to serve (--queues)")
	}
	for _, q := range h.GetQueues() {
		if err := call.CheckQueue(q); err != nil {
			return err
		}
	}
	return nil
}
