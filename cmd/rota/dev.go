package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/internal/localcluster"
)

const (
	// readyTimeout is how long a cluster of child processes may take to serve.
	readyTimeout = 60 * time.Second
	// devFirstPort is the port of the first server: the one that every verb uses by
	// default.
	devFirstPort = 7420
	// maxDevNodes and maxDevWorkers bound the processes on this one machine.
	maxDevNodes, maxDevWorkers = 9, 100
)

func (a *app) devCmd() *cobra.Command {
	var nodes, workers, slots int
	var dir string
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run servers and workers on this machine",
		Long: "Starts servers and workers as processes of their own and runs until Ctrl-C. Their data is\n" +
			"in --data-dir, or else in a temporary folder that is removed at the end.",
		Example: "  rota dev --nodes 3 --workers 2",
		Args:    wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case nodes < 1 || nodes > maxDevNodes || nodes%2 == 0:
				return usagef("--nodes %d makes no sense: use 1, 3 or 5, because an even number survives no more losses", nodes)
			case workers < 0 || workers > maxDevWorkers:
				return usagef("--workers %d is out of range: use 0 to %d", workers, maxDevWorkers)
			case slots < 0:
				return usagef("--slots %d is negative", slots)
			}
			return a.dev(cmd.Context(), localcluster.Config{
				Dir: dir, Servers: nodes, Workers: workers, Slots: slots, FirstPort: devFirstPort,
			})
		},
	}
	f := cmd.Flags()
	f.IntVar(&nodes, "nodes", 1, "number of servers: 1, 3 or 5")
	f.IntVar(&workers, "workers", 1, "number of workers")
	f.IntVar(&slots, "slots", 0, "slots of each worker; 0: one for each CPU")
	f.StringVar(&dir, "data-dir", "", "folder for the data of the cluster; empty: a temporary one")
	return cmd
}

// dev runs a cluster until ctx ends or one of its processes does.
func (a *app) dev(ctx context.Context, cfg localcluster.Config) (err error) {
	c, cleanup, err := a.startLocal(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanup()) }()
	if err := a.describe(c); err != nil {
		return err
	}
	ended := make(chan *localcluster.Process, len(c.Processes()))
	for _, p := range c.Processes() {
		go func() {
			<-p.Done()
			ended <- p
		}()
	}
	for running := len(c.Processes()); running > 0; running-- {
		select {
		case <-ctx.Done():
			a.say("rota: stopping")
			return nil
		case p := <-ended:
			// The others go on: people use a local cluster to see what happens then.
			a.say("rota: %s has ended; its log is %s", p.Name, p.LogFile)
		}
	}
	return errors.New("all processes have ended")
}

// describe prints where everything is.
func (a *app) describe(c *localcluster.Cluster) error {
	t := a.newTable("NAME", "PID", "ADDR", "PEER ADDR", "HTTP ADDR", "LOG")
	for _, p := range c.Processes() {
		t.row(p.Name, fmt.Sprint(p.Pid()), p.Addr, p.PeerAddr, p.HTTPAddr, p.LogFile)
	}
	if err := t.end(); err != nil {
		return err
	}
	err := a.print("\nexport ROTA_ADDR=%s\n", strings.Join(c.Addrs(), ","))
	a.say("\nThe cluster is ready. Try in another terminal: rota run -- echo hello\nCtrl-C ends it.")
	return err
}

// startLocal starts a cluster of child processes. cleanup ends them, and removes the
// folder if it is a temporary one.
func (a *app) startLocal(ctx context.Context, cfg localcluster.Config) (c *localcluster.Cluster, cleanup func() error, err error) {
	temporary := cfg.Dir == ""
	if temporary {
		if cfg.Dir, err = os.MkdirTemp("", "rota-"); err != nil {
			return nil, nil, fmt.Errorf("make a temporary folder: %w", err)
		}
	}
	remove := func() error {
		if temporary {
			return os.RemoveAll(cfg.Dir)
		}
		return nil
	}
	if c, err = localcluster.New(cfg); err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	cleanup = func() error {
		// The signal that ends this process must not keep it from ending the others.
		return errors.Join(c.Stop(context.WithoutCancel(ctx)), remove())
	}
	ready, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := c.Start(ready); err != nil {
		c.Kill()
		return nil, nil, errors.Join(err, remove())
	}
	return c, cleanup, nil
}
