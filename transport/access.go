package transport

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/access"
	"github.com/rota-scheduler/rota/wire"
)

// WhoAmI implements the access service.
func (s *Server) WhoAmI(ctx context.Context, _ *rotav1.WhoAmIRequest) (*rotav1.WhoAmIResponse, error) {
	who := access.CallOf(ctx).Principal()
	if who == nil {
		return &rotav1.WhoAmIResponse{Role: string(task.RoleAdmin), Open: true}, nil
	}
	resp := &rotav1.WhoAmIResponse{Role: string(who.Role), Name: who.Name, Queues: who.Queues()}
	if t := who.Token; t != nil {
		resp.TokenId, resp.ExpiresAt = task.AccessID(t.Hash), stamp(t.ExpiresNs)
	} else if !who.NotAfter.IsZero() {
		resp.ExpiresAt = timestamppb.New(who.NotAfter)
	}
	return resp, nil
}

// CreateToken implements the access service.
func (s *Server) CreateToken(ctx context.Context, r *rotav1.CreateTokenRequest) (*rotav1.CreateTokenResponse, error) {
	token, err := s.newToken(ctx, r)
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return atLeader(ctx, s, r,
		func(ctx context.Context, _ *rotav1.CreateTokenRequest) (*rotav1.CreateTokenResponse, error) {
			op := &logpb.Op{Op: &logpb.Op_CreateAccessToken{CreateAccessToken: &logpb.CreateAccessToken{Token: token}}}
			res, err := s.node.Propose(ctx, op)
			if err != nil {
				return nil, err
			}
			resp := &rotav1.CreateTokenResponse{Existed: res.Existed, AppliedIndex: res.Index}
			if made, ok := s.node.State().Machine().AccessToken(token.Hash); ok {
				resp.Token = s.tokenOf(made)
			}
			return resp, nil
		},
		func(c grpc.ClientConnInterface, ctx context.Context, r *rotav1.CreateTokenRequest) (*rotav1.CreateTokenResponse, error) {
			return rotav1.NewAccessServiceClient(c).CreateToken(ctx, r)
		})
}

// newToken checks a request for a token.
func (s *Server) newToken(ctx context.Context, r *rotav1.CreateTokenRequest) (*logpb.AccessToken, error) {
	if r.GetTtl() != nil && r.GetTtl().AsDuration() <= 0 {
		return nil, task.Errorf(task.KindInvalid, "a token cannot be valid for %v: use more than 0, such as 720h", r.GetTtl().AsDuration())
	}
	if len(r.GetHash()) != task.AccessHashBytes {
		return nil, task.Errorf(task.KindInvalid, "the hash of a token has %d bytes (SHA-256 of its text), not %d", task.AccessHashBytes, len(r.GetHash()))
	}
	t := &task.AccessToken{Name: r.GetName(), Role: task.Role(r.GetRole()), Queues: r.GetQueues(), TTL: r.GetTtl().AsDuration(), Rate: r.GetRate()}
	if err := s.rules().ValidAccessToken(t); err != nil {
		return nil, err
	}
	out := &logpb.AccessToken{Hash: r.GetHash(), Name: t.Name, Role: string(t.Role), Queues: t.Queues, Rate: t.Rate, TtlNs: int64(t.TTL)}
	if who := access.CallOf(ctx).Principal(); who != nil {
		short := who.Short()
		out.Creator = task.WholeRunes(short[:min(len(short), task.MaxName)])
	}
	return out, nil
}

// ListTokens implements the access service.
func (s *Server) ListTokens(ctx context.Context, _ *rotav1.ListTokensRequest) (*rotav1.ListTokensResponse, error) {
	if err := s.fresh(ctx, nil); err != nil {
		return nil, wire.ToStatus(err)
	}
	m := s.node.State().Machine()
	resp := &rotav1.ListTokensResponse{AppliedIndex: m.AppliedIndex()}
	for _, t := range m.AccessTokens() {
		resp.Tokens = append(resp.Tokens, s.tokenOf(t))
	}
	return resp, nil
}

// tokenOf is what clients see of a token.
func (s *Server) tokenOf(t *logpb.AccessToken) *rotav1.AccessToken {
	return &rotav1.AccessToken{
		Id: task.AccessID(t.Hash), Name: t.Name, Role: t.Role, Queues: t.Queues, Rate: t.Rate, Creator: t.Creator,
		CreatedAt: timestamppb.New(time.Unix(0, t.CreatedNs)), ExpiresAt: stamp(t.ExpiresNs), Expired: fsm.AccessExpired(t, s.node.Now()),
	}
}

// RevokeToken implements the access service.
func (s *Server) RevokeToken(ctx context.Context, r *rotav1.RevokeTokenRequest) (*rotav1.RevokeTokenResponse, error) {
	return atLeader(ctx, s, r, s.revokeToken,
		func(c grpc.ClientConnInterface, ctx context.Context, r *rotav1.RevokeTokenRequest) (*rotav1.RevokeTokenResponse, error) {
			return rotav1.NewAccessServiceClient(c).RevokeToken(ctx, r)
		})
}

// revokeToken revokes the token with an id, as the leader.
func (s *Server) revokeToken(ctx context.Context, r *rotav1.RevokeTokenRequest) (*rotav1.RevokeTokenResponse, error) {
	if err := s.node.Barrier(ctx); err != nil {
		return nil, err
	}
	for _, t := range s.node.State().Machine().AccessTokens() {
		if task.AccessID(t.Hash) != r.GetId() {
			continue
		}
		res, err := s.node.Propose(ctx, &logpb.Op{Op: &logpb.Op_RevokeAccessToken{RevokeAccessToken: &logpb.RevokeAccessToken{Hash: t.Hash}}})
		if err != nil {
			return nil, err
		}
		return &rotav1.RevokeTokenResponse{AppliedIndex: res.Index}, nil
	}
	return nil, task.Errorf(task.KindNotFound, "there is no token %q: it was revoked, or never made (rota token list)", r.GetId())
}
