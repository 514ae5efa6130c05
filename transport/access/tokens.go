package access

import (
	"context"
	"errors"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// byToken returns who has a token. The error says why the token is not valid.
func (g *Guard) byToken(ctx context.Context, hash []byte) (*Principal, Reason, error) {
	t, ok := g.state.AccessToken(hash)
	if !ok {
		// It may have been made a moment ago, and this server may be behind.
		if err := g.state.Fresh(ctx); err != nil {
			return nil, "", &task.Error{Kind: task.KindUnavailable, Msg: "the token is not known to this server, which cannot ask the leader now", Err: leaderError(err)}
		}
		if t, ok = g.state.AccessToken(hash); !ok {
			return nil, reasonUnknownToken, task.Errorf(task.KindUnauthenticated, "the token %s is not known: it was revoked, or it is of another cluster; ask an admin for another one (rota token create)", task.AccessID(hash))
		}
	}
	if err := g.valid(t); err != nil {
		return nil, reasonExpiredToken, err
	}
	return &Principal{Role: task.Role(t.Role), Name: t.Name, Token: t}, "", nil
}

// valid returns an error for a token whose time is over.
func (g *Guard) valid(t *logpb.AccessToken) error {
	if !fsm.AccessExpired(t, g.state.Now()) {
		return nil
	}
	return task.Errorf(task.KindUnauthenticated, "the token %s (%s) expired on %s: ask an admin for another one (rota token create)",
		t.Name, task.AccessID(t.Hash), time.Unix(0, t.ExpiresNs).UTC().Format(time.RFC3339))
}

// leaderError keeps the text of an error without its kind: nothing has happened, whatever became of the question.
func leaderError(err error) error { return errors.New(err.Error()) }
