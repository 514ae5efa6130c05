package client

import (
	"context"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// ServerChange is what has become of a server.
type ServerChange struct {
	// ID is its node id, ServerID what was made with its data folder.
	ID, ServerID string
	// Voter: it has a vote. Removed: it is no part of the cluster any more.
	Voter, Removed bool
	// Voters is how many servers vote now.
	Voters int
	// Note is what there is to know about it, in words for people; "": nothing.
	Note string
}

// AddServer gives a vote to a server that has joined, once it has caught up with the leader and stayed so. It does not
// wait for that; Status tells.
func (c *Client) AddServer(ctx context.Context, id string) (ServerChange, error) {
	serverID, err := c.serverID(ctx, id)
	if err != nil {
		return ServerChange{}, err
	}
	resp, err := do(ctx, c, changing("add a server", serverID), func(ctx context.Context, s *server) (*rotav1.AddServerResponse, error) {
		return s.cluster.AddServer(ctx, &rotav1.AddServerRequest{Id: id, ServerId: serverID})
	})
	return serverChange(resp.GetChange()), err
}

// PromoteServer gives a vote to a server now. It is refused unless the server has caught up.
func (c *Client) PromoteServer(ctx context.Context, id string) (ServerChange, error) {
	serverID, err := c.serverID(ctx, id)
	if err != nil {
		return ServerChange{}, err
	}
	resp, err := do(ctx, c, changing("promote a server", serverID), func(ctx context.Context, s *server) (*rotav1.PromoteServerResponse, error) {
		return s.cluster.PromoteServer(ctx, &rotav1.PromoteServerRequest{Id: id, ServerId: serverID})
	})
	return serverChange(resp.GetChange()), err
}

// DemoteServer takes the vote of a server away. Without force it is refused if the voters that stay are no
// majority that answers.
func (c *Client) DemoteServer(ctx context.Context, id string, force bool) (ServerChange, error) {
	serverID, err := c.serverID(ctx, id)
	if err != nil {
		return ServerChange{}, err
	}
	resp, err := do(ctx, c, changing("demote a server", serverID), func(ctx context.Context, s *server) (*rotav1.DemoteServerResponse, error) {
		return s.cluster.DemoteServer(ctx, &rotav1.DemoteServerRequest{Id: id, ServerId: serverID, Force: force})
	})
	return serverChange(resp.GetChange()), err
}

// RemoveServer takes a server out of the cluster for good. Without force it is refused if the voters that stay are
// no majority that answers. When the server hears of it, it ends; its data cannot be used again.
func (c *Client) RemoveServer(ctx context.Context, id string, force bool) (ServerChange, error) {
	serverID, err := c.serverID(ctx, id)
	if err != nil {
		return ServerChange{}, err
	}
	resp, err := do(ctx, c, changing("remove a server", serverID), func(ctx context.Context, s *server) (*rotav1.RemoveServerResponse, error) {
		return s.cluster.RemoveServer(ctx, &rotav1.RemoveServerRequest{Id: id, ServerId: serverID, Force: force})
	})
	return serverChange(resp.GetChange()), err
}

// changing is a call that changes a server. It can be sent again if it names the server by both of its ids.
func changing(op, serverID string) call { return call{op: op, mutation: true, safe: serverID != ""} }

// serverID is the id of the server that has a node id now. A request that is sent again with it never
// means another server that has the node id by then.
func (c *Client) serverID(ctx context.Context, id string) (string, error) {
	info, err := c.Status(ctx)
	if err != nil {
		return "", err
	}
	for _, s := range info.Servers {
		if s.ID == id {
			return s.ServerID, nil
		}
	}
	if info.Leader == "" {
		return "", task.Errorf(task.KindUnavailable, "there is no leader: a majority of the servers must be up")
	}
	return "", nil // the leader may know it
}

func serverChange(p *rotav1.ServerChange) ServerChange {
	return ServerChange{ID: p.GetId(), ServerID: p.GetServerId(), Voter: p.GetVoter(), Removed: p.GetRemoved(), Voters: int(p.GetVoters()), Note: p.GetNote()}
}
