package client

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// Identity is who a client is to the servers.
type Identity struct {
	Role task.Role
	// Name is that of its certificate, or of its token.
	Name string
	// Queues are patterns of the queues that its rights are for; none: all.
	Queues []string
	// TokenID is the id of its token; "": its certificate decides.
	TokenID string
	// ExpiresAt is when its token or certificate expires; zero: never, or it is not known.
	ExpiresAt time.Time
	// Open: the servers ask nobody who they are, as their connections are in plain text.
	Open bool
}

// AccessToken is what the servers know of an access token.
type AccessToken struct {
	// ID is the beginning of the hash of its text.
	ID, Name string
	Role     task.Role
	Queues   []string
	// Rate is the submits per second that are meant for it; 0: as many as the servers allow. No server enforces it yet.
	Rate      uint32
	CreatedAt time.Time
	// ExpiresAt is zero if it never expires.
	ExpiresAt time.Time
	Expired   bool
	// Creator is who made it: token/NAME, or ROLE/NAME of a certificate.
	Creator string
}

// WhoAmI returns who the client is to the servers.
func (c *Client) WhoAmI(ctx context.Context) (Identity, error) {
	r, err := do(ctx, c, call{op: "ask who this client is", safe: true}, func(ctx context.Context, s *server) (*rotav1.WhoAmIResponse, error) {
		return s.access.WhoAmI(ctx, &rotav1.WhoAmIRequest{})
	})
	if err != nil {
		return Identity{}, err
	}
	return Identity{
		Role: task.Role(r.GetRole()), Name: r.GetName(), Queues: r.GetQueues(), TokenID: r.GetTokenId(), ExpiresAt: moment(r.GetExpiresAt()), Open: r.GetOpen(),
	}, nil
}

// CreateToken makes an access token and returns its secret, which nobody can find out later. The servers get its hash only.
func (c *Client) CreateToken(ctx context.Context, t task.AccessToken) (wire.Secret, AccessToken, error) {
	if err := t.Validate(); err != nil {
		return "", AccessToken{}, err
	}
	secret := wire.NewSecret()
	req := &rotav1.CreateTokenRequest{Hash: secret.Hash(), Name: t.Name, Role: string(t.Role), Queues: t.Queues, Rate: t.Rate}
	if t.TTL > 0 {
		req.Ttl = durationpb.New(t.TTL)
	}
	// The hash makes it safe to send again.
	r, err := do(ctx, c, call{op: "create a token", mutation: true, safe: true}, func(ctx context.Context, s *server) (*rotav1.CreateTokenResponse, error) {
		return s.access.CreateToken(ctx, req)
	})
	if err != nil {
		return "", AccessToken{}, err
	}
	return secret, accessToken(r.GetToken()), nil
}

// Tokens returns all access tokens, in the order in which they were made.
func (c *Client) Tokens(ctx context.Context) ([]AccessToken, error) {
	r, err := do(ctx, c, call{op: "list tokens", safe: true}, func(ctx context.Context, s *server) (*rotav1.ListTokensResponse, error) {
		return s.access.ListTokens(ctx, &rotav1.ListTokensRequest{})
	})
	if err != nil {
		return nil, err
	}
	var out []AccessToken
	for _, t := range r.GetTokens() {
		out = append(out, accessToken(t))
	}
	return out, nil
}

// RevokeToken ends the token with an id. Sent twice, it may say that there is no such token.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	_, err := do(ctx, c, call{op: "revoke token " + id, mutation: true}, func(ctx context.Context, s *server) (*rotav1.RevokeTokenResponse, error) {
		return s.access.RevokeToken(ctx, &rotav1.RevokeTokenRequest{Id: id})
	})
	return err
}

func accessToken(t *rotav1.AccessToken) AccessToken {
	return AccessToken{
		ID: t.GetId(), Name: t.GetName(), Role: task.Role(t.GetRole()), Queues: t.GetQueues(), Rate: t.GetRate(), CreatedAt: moment(t.GetCreatedAt()),
		ExpiresAt: moment(t.GetExpiresAt()), Expired: t.GetExpired(), Creator: t.GetCreator(),
	}
}
