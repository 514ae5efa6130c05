package access

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rota-scheduler/rota/wire"
)

// lookEvery is how often to look whether tokens of streams have expired. Those that are revoked are known at once.
const lookEvery = 500 * time.Millisecond

// streams are those under way that a token has opened, by its hash.
type streams struct {
	mu   sync.Mutex
	open map[string]map[*guarded]struct{}
}

func newStreams() streams { return streams{open: map[string]map[*guarded]struct{}{}} }

// guarded is a stream whose requests are checked.
type guarded struct {
	grpc.ServerStream
	call *Call
	ctx  context.Context
	end  context.CancelCauseFunc
}

// Context implements grpc.ServerStream.
func (s *guarded) Context() context.Context { return s.ctx }

// RecvMsg implements grpc.ServerStream.
func (s *guarded) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return wire.ToStatus(s.call.checkRequest(m))
}

// errEnded is why a stream under a token that is not valid any more ends.
var errEnded = errors.New("the token of this stream was revoked, or has expired")

// Stream is the interceptor of streams.
func (g *Guard) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	c, ctx, err := g.admit(stream.Context(), info.FullMethod)
	if err != nil {
		return wire.ToStatus(err)
	}
	s := &guarded{ServerStream: stream, call: c}
	s.ctx, s.end = context.WithCancelCause(ctx)
	defer s.end(nil)
	if c.who.Token != nil {
		defer g.streams.add(s)()
		g.endInvalid() // it may have been revoked since it was looked at
	}
	err = handle(srv, s)
	if errors.Is(context.Cause(s.ctx), errEnded) {
		// Without a detail, it says nothing about what the stream has taken and not answered. Another stream would be refused
		// with the reason.
		return status.Error(codes.Unavailable, errEnded.Error())
	}
	return err
}

// add notes a stream until remove is called.
func (s *streams) add(g *guarded) (remove func()) {
	hash := string(g.call.who.Token.Hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[hash] == nil {
		s.open[hash] = map[*guarded]struct{}{}
	}
	s.open[hash][g] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if delete(s.open[hash], g); len(s.open[hash]) == 0 {
			delete(s.open, hash)
		}
	}
}

// watchStreams ends streams when their tokens do, until ctx ends.
func (g *Guard) watchStreams(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		changed := g.state.AccessChanged()
		g.endInvalid()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

// endInvalid ends the streams whose tokens are not valid any more. It looks at each token once.
func (g *Guard) endInvalid() {
	g.streams.mu.Lock()
	defer g.streams.mu.Unlock()
	for hash, open := range g.streams.open {
		if t, ok := g.state.AccessToken([]byte(hash)); ok && g.valid(t) == nil {
			continue
		}
		for s := range open {
			s.end(errEnded)
		}
	}
}
