package workload

import (
	"context"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// members submits jobs while votes are given and taken. In the end every server votes again.
type members struct {
	queue
}

// changeSteps: one of so many steps changes a server.
const changeSteps = 20

func (m *members) step(ctx context.Context, c *Client) {
	if c.Random.IntN(changeSteps) > 0 {
		m.queue.step(ctx, c)
		return
	}
	servers := c.env.Cluster.Servers
	in := history.Member{Node: servers[c.Random.IntN(len(servers))].Name}
	var change func(ctx context.Context, id string) (client.ServerChange, error)
	switch n := c.Random.IntN(10); {
	case n < 5: // so that most of them vote most of the time
		in.Change, change = "add", c.sdk.AddServer
	case n < 7:
		in.Change, change = "promote", c.sdk.PromoteServer
	default:
		in.Change, change = "demote", func(ctx context.Context, id string) (client.ServerChange, error) {
			return c.sdk.DemoteServer(ctx, id, false)
		}
	}
	call(ctx, c, history.FMember, in, func(ctx context.Context) (history.Membered, error) {
		out, err := change(ctx, in.Node)
		return history.Membered{ServerID: out.ServerID, Voter: out.Voter, Voters: out.Voters}, err
	})
}

func (m *members) end(ctx context.Context, c *Client) error {
	for _, s := range c.env.Cluster.Servers {
		err := cluster.Await(ctx, "the vote of "+s.Name, func() error {
			_, err := c.sdk.PromoteServer(ctx, s.Name)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
