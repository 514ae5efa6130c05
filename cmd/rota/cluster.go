package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// verifyTimeout is the time that a verification gets at least: every server reads its
// whole state.
const verifyTimeout = 2 * time.Minute

// maxProblem is how much to show of a server's problem, characters.
const maxProblem = 600

func (a *app) clusterCmd() *cobra.Command {
	status := &cobra.Command{
		Use: "status", Short: "Show the servers and who leads them",
		Long: "Shows the servers of the cluster as the leader sees them, or without a leader as the server\n" +
			"that answers sees them. The exit code is 6 if there is no leader, or no cluster yet.",
		Example: "  rota cluster status\n  rota cluster status --addr 127.0.0.1:7420,127.0.0.1:7430,127.0.0.1:7440 -o json",
		Args:    wantArgs(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.withClient(cmd.Context(), a.clusterStatus) },
	}
	verify := &cobra.Command{
		Use: "verify", Short: "Compare the states of all servers at one log index",
		Long: "Takes the digest of every server's state at one log index and compares the digests. The\n" +
			"exit code is 1 unless all voters answered, all digests are equal and no invariant is\n" +
			"broken.",
		Example: "  rota cluster verify\n  rota cluster verify -o json",
		Args:    wantArgs(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.withClient(cmd.Context(), a.clusterVerify) },
	}
	transfer := &cobra.Command{
		Use: "transfer-leader [NODE]", ValidArgsFunction: a.nodeIDs(), Short: "Make another server the leader",
		Long: "Hands leadership over to the server with the node id NODE, or without NODE to the server with\n" +
			"the most complete log. Use it before you stop a leader for long. It restarts no task.",
		Example: "  rota cluster transfer-leader\n  rota cluster transfer-leader n2",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return wantArgs("a node id")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return a.clusterTransfer(ctx, c, strings.Join(args, ""))
			})
		},
	}
	cmd := group("cluster", "Look at the servers, change which there are, back them up and restore them",
		append([]*cobra.Command{status, verify, transfer, a.snapshotCmd(), a.recoverCmd(), a.compactCmd()}, a.serverVerbs()...)...)
	a.clientFlags(cmd)
	return cmd
}

func (a *app) clusterStatus(ctx context.Context, c *client.Client) error {
	ctx, cancel := a.request(ctx)
	defer cancel()
	info, err := c.Status(ctx)
	if task.KindOf(err) == task.KindUnavailable {
		// Every server that is up answers, with or without a leader. So none is up.
		if addrs, _ := wire.ParseAddrs(a.addr); len(addrs) > 0 {
			err = fmt.Errorf("0 of %s answer: %w", plural(len(addrs), "server"), err)
		}
	}
	if err != nil {
		return err
	}
	if a.format != formatTable {
		err = a.printOne(statusJSON(info))
	} else {
		err = a.printStatus(info)
	}
	return errors.Join(err, leaderError(info))
}

// leaderError is the error for a cluster without a leader; nil if it has one.
func leaderError(info client.ClusterInfo) error {
	voters := votersOf(info)
	switch {
	case info.Leader != "":
		return nil
	case voters == 0:
		what := info.Waiting
		if what == "" {
			what = "it has not looked for the others yet"
		}
		return &codeError{exitUnavailable, fmt.Errorf(
			"the server that answers is not part of a cluster yet: %s (new servers wait at the addresses of --join until there are as many as --bootstrap-expect says)", oneLine(what, maxProblem))}
	}
	return &codeError{exitUnavailable, fmt.Errorf("there is no leader: %d of %d voting servers answer, and %d must be up and reach each other",
		answering(info), voters, voters/2+1)}
}

// votersOf counts the servers that vote.
func votersOf(info client.ClusterInfo) (n int) {
	for _, s := range info.Servers {
		if s.Voter {
			n++
		}
	}
	return n
}

// answering counts the voters that answer.
func answering(info client.ClusterInfo) (n int) {
	for _, s := range info.Servers {
		if s.Voter && s.State != "unreachable" {
			n++
		}
	}
	return n
}

func (a *app) printStatus(info client.ClusterInfo) error {
	leader := info.Leader
	if leader == "" {
		leader = "none"
	}
	if len(info.Servers) == 0 {
		return a.print("Leader %s, no cluster yet\n", leader)
	}
	up := 0
	for _, s := range info.Servers {
		if s.State != "unreachable" {
			up++
		}
	}
	votes := ""
	if voters := votersOf(info); voters < len(info.Servers) {
		votes = fmt.Sprintf("; voters: %d", voters)
	}
	logVersion := ""
	if info.ActiveVersion != 0 { // 0: the server that answers is of a build that does not tell
		logVersion = fmt.Sprintf(", log version %d", info.ActiveVersion)
	}
	err := a.print("Leader %s, term %d, applied index %d%s; servers that answer: %d of %d%s\n\n",
		leader, info.Term, info.AppliedIndex, logVersion, up, len(info.Servers), votes)
	if err != nil {
		return err
	}
	if err := a.printServers(info.Servers); err != nil {
		return err
	}
	for _, s := range info.Servers {
		if s.Problem == "" {
			continue
		}
		if _, err := fmt.Fprintf(a.out, "\n%s: %s\n", visible(s.ID), oneLine(s.Problem, maxProblem)); err != nil {
			return err
		}
	}
	return nil
}

// printServers prints a row for each server.
func (a *app) printServers(servers []client.ServerInfo) error {
	t := a.newTable("ID", "STATE", "VOTER", "ADDR", "PEER ADDR", "HTTP ADDR", "APPLIED", "LAST CONTACT", "TERM", "COMMIT", "LAG", "DISK FREE", "CERTIFICATE", "KNOWS", "VERSION")
	for _, s := range servers {
		told := []string{fmt.Sprint(s.AppliedIndex), short(s.LastContact), fmt.Sprint(s.Term), fmt.Sprint(s.CommitIndex), fmt.Sprint(s.Lag), "", "", fmt.Sprint(s.KnowsVersion)}
		if s.State == "leader" {
			told[1] = ""
		}
		if s.CommitIndex == 0 {
			told[3] = "" // it does not tell
		}
		if s.DiskFree != nil {
			told[5] = bytesText(*s.DiskFree)
		}
		if !s.CertificateEnd.IsZero() {
			told[6] = "until " + s.CertificateEnd.Format(time.DateOnly)
		}
		if s.KnowsVersion == 0 {
			told[7] = ""
		}
		if s.State == "unreachable" {
			told = make([]string, len(told)) // not known
		}
		row := append([]string{s.ID, s.State, map[bool]string{true: "yes", false: "no"}[s.Voter], s.Addr, s.PeerAddr, s.HTTPAddr}, told...)
		t.row(append(row, s.Version)...)
	}
	return t.end()
}

func (a *app) clusterTransfer(ctx context.Context, c *client.Client, to string) error {
	ctx, cancel := a.request(ctx)
	defer cancel()
	leader, err := c.TransferLeader(ctx, to)
	if err != nil {
		return err
	}
	if a.format != formatTable {
		return a.printOne(jsonv1.Leader{Leader: leader.ID, Term: leader.Term})
	}
	return a.print("%s leads in term %d\n", leader.ID, leader.Term)
}

func (a *app) clusterVerify(ctx context.Context, c *client.Client) error {
	// Ask first whether there is a leader: this answer comes much sooner than that of a verification.
	reach, done := a.request(ctx)
	status, err := c.Status(reach)
	done()
	switch {
	case err != nil:
		return err
	case status.Leader == "":
		return task.Errorf(task.KindUnavailable, "there is no leader: a majority of the servers must be up")
	}
	ctx, cancel := context.WithTimeout(ctx, max(verifyTimeout, a.requestTimeout))
	defer cancel()
	info, err := c.Verify(ctx)
	if err != nil {
		return err
	}
	if a.format != formatTable {
		err = a.printOne(verificationJSON(info))
	} else {
		t := a.newTable("ID", "INDEX", "DIGEST", "PROBLEM")
		for _, s := range info.Servers {
			t.row(s.ID, indexText(s), digestText(s), oneLine(strings.Join(problems(s), "; "), maxProblem))
		}
		err = t.end()
	}
	if err == nil && !info.OK {
		err = errors.New("verify could not prove that all servers have the same state: see the table")
	}
	return err
}

func problems(d client.DigestInfo) []string {
	if d.Error == "" {
		return d.Violations
	}
	return append([]string{d.Error}, d.Violations...)
}

// indexText is empty if a server did not answer, because its index is not known then.
func indexText(d client.DigestInfo) string {
	if d.Error != "" {
		return ""
	}
	return fmt.Sprint(d.Index)
}
