package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// Remove removes a server from the cluster, while it runs or not, and returns what was removed once that is acknowledged.
func (c *Cluster) Remove(ctx context.Context, s *Server) (history.Removed, error) {
	out := history.Removed{Node: s.Name}
	err := Await(ctx, "the removal of "+s.Name, func() error {
		ask, done := context.WithTimeout(ctx, changeTimeout)
		defer done()
		cl, err := c.Client(c.other(s).Host)
		if err != nil {
			return err
		}
		defer cl.Close()
		change, err := cl.RemoveServer(ask, s.Name, false)
		if err != nil {
			return err
		}
		info, err := cl.Status(ask)
		for _, other := range info.Servers {
			out.Index = max(out.Index, other.CommitIndex)
		}
		if out.Index == 0 {
			return errors.Join(err, errors.New("nobody says how far the log is committed"))
		}
		out.ServerID = change.ServerID
		return nil
	})
	s.identities[out.ServerID] = true
	return out, err
}

// Rejoin starts a server that was removed with an empty folder, gives it a vote, and waits until it has that and is ready.
func (c *Cluster) Rejoin(ctx context.Context, s *Server) error {
	s.loseData()
	if err := s.Start(); err != nil {
		return err
	}
	cl, err := c.Client(c.other(s).Host)
	if err != nil {
		return err
	}
	defer cl.Close()
	err = s.Await(ctx, "a vote of "+s.Name+" under a new identity", func(ctx context.Context) error {
		ask, done := context.WithTimeout(ctx, changeTimeout)
		defer done()
		if _, err := cl.AddServer(ask, s.Name); err != nil {
			return err
		}
		id, voter, err := c.Identity(ask, s)
		if err == nil && (s.identities[id] || !voter) {
			err = fmt.Errorf("it is known as %q, and votes: %v", id, voter)
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.WaitReady(ctx)
}

// other is a server that is not this one.
func (c *Cluster) other(s *Server) *Server {
	if c.Servers[0] == s {
		return c.Servers[1]
	}
	return c.Servers[0]
}
