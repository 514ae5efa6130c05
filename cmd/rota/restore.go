package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/node"
)

// defaultPeerAddr is the Raft address of a server that is given none.
const defaultPeerAddr = "127.0.0.1:7421"

// folderFlags are those of verbs that make the data folder of a new cluster.
type folderFlags struct {
	log logFlags
	to  node.NewFolder
}

func (f *folderFlags) add(cmd *cobra.Command, dirFlag string) {
	flags := cmd.Flags()
	flags.StringVar(&f.to.Dir, dirFlag, "", "data folder to make; it must not be there, or be empty (required)")
	flags.StringVar(&f.to.PeerAddr, "peer-addr", defaultPeerAddr, "Raft address of the server, as the others reach it")
	flags.StringVar(&f.to.LogStore, "log-store", "", "wal or boltdb, as for rota server start")
	flags.DurationVar(&f.to.LeaseTimeout, "lease-timeout", node.DefaultLeaseTimeout, "--lease-timeout of the old servers: serial jobs wait for three of these")
	flags.BoolVar(&f.to.WithoutTokens, "without-tokens", false, "forget all access tokens")
	f.log.add(flags)
}

// check completes the flags.
func (f *folderFlags) check(a *app, dirFlag string) (err error) {
	switch {
	case f.to.Dir == "":
		return usagef("--%s is required", dirFlag)
	case f.to.NodeID == "":
		return usagef("--node-id is required")
	}
	f.to.Logger, err = f.log.logger(a.err)
	return err
}

func (a *app) snapshotRestoreCmd() *cobra.Command {
	var f folderFlags
	cmd := &cobra.Command{
		Use: "restore FILE --data-dir FOLDER --node-id ID", Short: "Make a new cluster from a backup",
		Long: "Makes the data folder of a server from a backup; no server need run. Start that server as always: it is a\n" +
			"new cluster of one server, with all jobs and results of the backup, and serves at once. Then start the\n" +
			"others with empty folders and --join, and give them votes with rota cluster add.\n\n" +
			"End all servers of the old cluster first. What was acknowledged after the backup is lost. The new cluster\n" +
			"gives out no token, job id, session or log index that the old one has given out, whatever came after the\n" +
			"backup; result cursors of the old one are refused.",
		Example: "  rota cluster snapshot restore rota.backup --data-dir restored --node-id n1",
		Args:    wantArgs("a file or -"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := f.check(a, "data-dir"); err != nil {
				return err
			}
			in, err := a.openBackup(args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			made, _, err := node.Restore(in, &f.to)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return a.showNewCluster(f.to.Dir, made)
		},
	}
	f.add(cmd, "data-dir")
	cmd.Flags().StringVar(&f.to.NodeID, "node-id", "", "node id of the server (required)")
	return cmd
}

func (a *app) showNewCluster(dir string, c node.NewCluster) error {
	if a.format != formatTable {
		return a.printOne(jsonv1.NewCluster{
			DataDir: dir, ClusterID: c.ClusterID, NodeID: c.NodeID, ServerID: c.ServerID, FromCluster: c.FromCluster, FromIndex: c.FromIndex,
			Index: c.Index, Term: c.Term, NextJob: c.NextJob, NextToken: c.NextToken, LogVersion: c.LogVersion, UnfinishedJobs: c.Jobs, Sessions: c.Sessions,
			AccessTokens: jsonv1.List(c.Tokens),
		})
	}
	err := a.fields([][2]string{
		{"Data folder", dir},
		{"Cluster", c.ClusterID},
		{"Server", c.NodeID},
		{"From", fmt.Sprintf("index %d of cluster %s", c.FromIndex, c.FromCluster)},
		{"Goes on at", fmt.Sprintf("index %d, term %d", c.Index, c.Term)},
		{"Next", fmt.Sprintf("job %d, token %d", c.NextJob, c.NextToken)},
		{"Unfinished jobs", fmt.Sprint(c.Jobs)},
		{"Workers", fmt.Sprint(c.Sessions)},
		{"Access tokens", strings.Join(c.Tokens, ", ")},
	}...)
	if len(c.Tokens) > 0 {
		a.say("Access tokens that were revoked after this state was saved are valid again: revoke them once more (rota token revoke),\n" +
			"or make the folder again with --without-tokens, and new tokens with the certificate of an administrator.")
	}
	if err == nil {
		a.say("Start it: rota server start --node-id %s --data-dir %s, with the addresses and certificates of that server.\n"+
			"The other servers need empty data folders and --join; then: rota cluster add ID", c.NodeID, dir)
	}
	return err
}

func (a *app) recoverCmd() *cobra.Command {
	var f folderFlags
	var from string
	var confirm bool
	cmd := &cobra.Command{
		Use: "recover --data-dir FOLDER --out NEW", Short: "Make a new cluster from one server, when the majority is lost for good",
		Long: "Makes a new cluster from the data folder of one server that is left, if so many servers are lost for good that\n" +
			"the others cannot elect a leader any more. It works on a stopped server and leaves its folder as it is.\n" +
			"Without --confirm it only shows what the server has, and what may be lost.\n\n" +
			"Look at every server that is left, and take the one with the highest term; with the same term, the one with\n" +
			"the highest index. Wipe all others. If one of the lost servers can still be started, start it instead: then\n" +
			"nothing is lost.",
		Example: "  rota cluster recover --data-dir /var/lib/rota --out /var/lib/rota.new\n\n" +
			"  rota cluster recover --data-dir /var/lib/rota --out /var/lib/rota.new --peer-addr 10.0.0.1:7421 --confirm",
		Args: wantArgs(),
		RunE: func(*cobra.Command, []string) error {
			switch {
			case from == "":
				return usagef("--data-dir is required")
			case confirm && f.to.Dir == "":
				return usagef("--out is required")
			}
			return a.clusterRecover(from, &f, confirm)
		},
	}
	f.add(cmd, "out")
	cmd.Flags().StringVar(&from, "data-dir", "", "data folder of the server that is left; the server must be stopped (required)")
	cmd.Flags().StringVar(&f.to.NodeID, "node-id", "", "node id of the new server (default: that of the old one)")
	cmd.Flags().BoolVar(&confirm, "confirm", false, "do it")
	return cmd
}

func (a *app) clusterRecover(from string, f *folderFlags, confirm bool) (err error) {
	logger, err := f.log.logger(a.err)
	if err != nil {
		return err
	}
	s, err := node.OpenSurvivor(from, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	survey, err := s.Survey()
	if err != nil {
		return err
	}
	if !confirm {
		return a.showSurvey(from, survey)
	}
	f.to.NodeID = cmp.Or(f.to.NodeID, survey.NodeID)
	if err := f.check(a, "out"); err != nil {
		return err
	}
	a.sayRisk(survey)
	made, err := s.Recover(&f.to)
	if err != nil {
		return err
	}
	return a.showNewCluster(f.to.Dir, made)
}

func (a *app) showSurvey(dir string, s node.Survey) error {
	if a.format != formatTable {
		return a.printOne(jsonv1.Survey{
			DataDir: dir, ClusterID: s.ClusterID, NodeID: s.NodeID, ServerID: s.ServerID, Voters: jsonv1.List(s.Voters), Others: jsonv1.List(s.Others),
			AppliedIndex: s.Applied, LastIndex: s.Last, LastTerm: s.LastTerm, StateBytes: uint64(s.StateBytes),
		})
	}
	err := a.fields([][2]string{
		{"Data folder", dir},
		{"Cluster", s.ClusterID},
		{"Server", s.NodeID},
		{"Voters", strings.Join(s.Voters, ", ")},
		{"Without a vote", strings.Join(s.Others, ", ")},
		{"Last entry", fmt.Sprintf("term %d, index %d", s.LastTerm, s.Last)},
		{"Applied index", fmt.Sprint(s.Applied)},
		{"State bytes", fmt.Sprint(s.StateBytes)},
	}...)
	a.sayRisk(s)
	a.say("Nothing was done. With --confirm, a new cluster is made from this server.")
	return err
}

// sayRisk says what may be lost.
func (a *app) sayRisk(s node.Survey) {
	majority := len(s.Voters)/2 + 1
	if majority < 2 {
		a.say("This server is the only voter of its cluster: start it, there is nothing to recover.")
		return
	}
	a.say("What may be lost: everything that %d of the %d voters (%s) have acknowledged without this one, behind index %d of term %d.\n"+
		"Entries that were never acknowledged may come back. The other servers must never be started again with their folders.",
		majority, len(s.Voters), strings.Join(s.Voters, ", "), s.Last, s.LastTerm)
}

func (a *app) compactCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "compact --data-dir FOLDER", Short: "Make the state.db of a stopped server smaller",
		Long: "Writes state.db anew without its free pages. A server uses these pages again, but the file never becomes\n" +
			"smaller by itself. The server must be stopped, and its disk needs room for the new file. Do this with one\n" +
			"server after the other.",
		Example: "  rota cluster compact --data-dir /var/lib/rota",
		Args:    wantArgs(),
		RunE: func(*cobra.Command, []string) error {
			if dir == "" {
				return usagef("--data-dir is required")
			}
			c, err := node.Compact(dir)
			if err != nil {
				return err
			}
			if a.format != formatTable {
				return a.printOne(jsonv1.Compacted{DataDir: dir, BeforeBytes: uint64(c.Before), AfterBytes: uint64(c.After)})
			}
			return a.print("state.db had %d bytes and has %d\n", c.Before, c.After)
		},
	}
	cmd.Flags().StringVar(&dir, "data-dir", "", "data folder of the server (required)")
	return cmd
}
