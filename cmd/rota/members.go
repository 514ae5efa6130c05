package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// voteEvery is how often to ask whether a server has its vote.
const voteEvery = 200 * time.Millisecond

// serverVerbs are the verbs that change which servers there are, and which of them vote.
func (a *app) serverVerbs() []*cobra.Command {
	var wait time.Duration
	add := a.serverVerb("add", "Give a vote to a server that has joined",
		"Gives a vote to the server with the node id NODE, once it has caught up with the leader and stayed so for\n"+
			"3s. Start the server first, with --join: it joins by itself, and has no vote by that. The command does not\n"+
			"wait, unless --wait says for how long. Use an odd number of voters: 3 survive the loss of one, 5 of two.",
		"  rota cluster add n4\n  rota cluster add n4 --wait 1m",
		func(ctx context.Context, c *client.Client, id string) (client.ServerChange, error) {
			return c.AddServer(ctx, id)
		}, &wait)
	add.Flags().DurationVar(&wait, "wait", 0, "how long to wait for its vote (default: do not wait)")
	promote := a.serverVerb("promote", "Give a vote to a server now",
		"Gives a vote to the server with the node id NODE, now. It is refused unless the server has caught up with\n"+
			"the leader: see rota cluster add.",
		"  rota cluster promote n4",
		func(ctx context.Context, c *client.Client, id string) (client.ServerChange, error) {
			return c.PromoteServer(ctx, id)
		}, nil)
	var force bool
	demote := a.serverVerb("demote", "Take the vote of a server away",
		"Takes the vote of the server with the node id NODE away. The server goes on getting the log. It is refused\n"+
			"if the voters that stay are no majority that answers and is up to date. If the server leads, it hands\n"+
			"leadership over first.",
		"  rota cluster demote n4",
		func(ctx context.Context, c *client.Client, id string) (client.ServerChange, error) {
			return c.DemoteServer(ctx, id, force)
		}, nil)
	remove := a.serverVerb("remove", "Take a server out of the cluster for good",
		"Takes the server with the node id NODE out of the cluster. When the server hears of it, it ends. It does not\n"+
			"come back with its data; with an empty data folder it can join as a new server. It is refused if the voters\n"+
			"that stay are no majority that answers and is up to date. If the server leads, it hands leadership over\n"+
			"first.",
		"  rota cluster remove n4",
		func(ctx context.Context, c *client.Client, id string) (client.ServerChange, error) {
			return c.RemoveServer(ctx, id, force)
		}, nil)
	for _, cmd := range []*cobra.Command{demote, remove} {
		cmd.Flags().BoolVar(&force, "force", false, "do it even if the voters that stay are no majority that answers: nothing is acknowledged until they are")
	}
	return []*cobra.Command{add, promote, demote, remove}
}

// serverVerb is a verb that changes one server. wait, unless it is nil, says for how long to wait for a vote.
func (a *app) serverVerb(verb, short, long, example string, change func(context.Context, *client.Client, string) (client.ServerChange, error), wait *time.Duration) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NODE", Short: short, Long: long, Example: example, Args: wantArgs("a node id"), ValidArgsFunction: a.nodeIDs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				reach, cancel := a.request(ctx)
				defer cancel()
				done, err := change(reach, c, args[0])
				if err == nil && wait != nil && *wait > 0 && !done.Voter {
					done, err = waitForVote(ctx, c, done, *wait)
				}
				if err != nil {
					return err
				}
				return a.printChange(done)
			})
		},
	}
}

// waitForVote waits until a server has its vote.
func waitForVote(ctx context.Context, c *client.Client, change client.ServerChange, wait time.Duration) (client.ServerChange, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(voteEvery)
	defer tick.Stop()
	problem := change.Note
	for {
		info, err := c.Status(ctx)
		if err == nil {
			change.Voters = votersOf(info)
			for _, s := range info.Servers {
				if s.ServerID == change.ServerID {
					change.Voter, problem = s.Voter, s.Problem
				}
			}
			if change.Voter {
				change.Note = ""
				return change, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return change, task.Errorf(task.KindUnavailable, "server %s has no vote yet after %v, and gets it later: %s", change.ID, wait, oneLine(problem, maxProblem))
		}
	}
}

func (a *app) printChange(c client.ServerChange) error {
	if a.format != formatTable {
		return a.printOne(jsonv1.ServerChange{ID: c.ID, ServerID: c.ServerID, Voter: c.Voter, Removed: c.Removed, Voters: c.Voters, Note: c.Note})
	}
	what := "has no vote"
	switch {
	case c.Removed:
		what = "is removed"
	case c.Voter:
		what = "has a vote"
	}
	line := fmt.Sprintf("%s %s; voters: %d", visible(c.ID), what, c.Voters)
	if c.Note != "" {
		line += ". " + oneLine(c.Note, maxProblem)
	}
	return a.print("%s\n", line)
}
