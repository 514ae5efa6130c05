package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

const (
	// completeTimeout is how long a shell waits at most for an answer of the servers.
	completeTimeout = time.Second
	// completeJobs is how many of the newest jobs to offer.
	completeJobs = 50
)

// jobStates are the states of jobs, as users write them.
var jobStates = []string{"pending", "running", "succeeded", "failed", "cancelled"}

// complete lets shells complete the values of flags and arguments of a tree of commands.
func (a *app) complete(root *cobra.Command) {
	values := map[string][]string{
		"output": formats, "state": jobStates, "alloc": task.PolicyNames(), "kind": task.EventKinds(),
		"stdout":    {"ends", "full", "discard", "file:"},
		"log-level": {"debug", "info", "warn", "error"},
	}
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		for flag, choices := range values {
			if cmd.LocalFlags().Lookup(flag) != nil {
				// It fails only if the flag has a completion already.
				_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
			}
		}
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(root)
}

// completion is a function that shells ask for arguments.
type completion = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective)

// fromServers makes a completion of what a cluster knows. Without an answer it offers nothing.
func (a *app) fromServers(list func(ctx context.Context, c *client.Client) []string) completion {
	return func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		if settle(cmd.Flags(), nil, a.env) != nil || a.chooseCredentials(cmd.Flags()) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := a.connect(nil)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		var out []string
		for _, text := range list(ctx, c) {
			if strings.HasPrefix(text, begun) {
				out = append(out, text)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// recentJobs offers the newest jobs, each with its state and name.
func (a *app) recentJobs() completion {
	return a.fromServers(func(ctx context.Context, c *client.Client) []string {
		out := []string{lastJob}
		for j, err := range c.List(ctx, client.ListOptions{PageSize: completeJobs, Stale: true}) {
			if err != nil || len(out) > completeJobs {
				break
			}
			about := j.Spec.Name
			if about == "" {
				about = strings.Join(append(j.Spec.Command, j.Spec.Handler), " ")
			}
			out = append(out, fmt.Sprintf("%d\t%s, %s", j.ID, j.State, oneLine(about, 40)))
		}
		return out
	})
}

// nodeIDs offers the servers.
func (a *app) nodeIDs() completion {
	return a.fromServers(func(ctx context.Context, c *client.Client) (out []string) {
		info, err := c.Status(ctx)
		if err != nil {
			return nil
		}
		for _, s := range info.Servers {
			out = append(out, s.ID)
		}
		return out
	})
}

// workerNames offers the workers.
func (a *app) workerNames() completion {
	return a.fromServers(func(ctx context.Context, c *client.Client) (out []string) {
		workers, err := c.Workers(ctx, client.WorkersOptions{})
		if err != nil {
			return nil
		}
		for _, w := range workers {
			out = append(out, w.Name)
		}
		return out
	})
}
