package client

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/leader"
)

// verifyTimeout is how long one attempt to verify a cluster may take: every server
// walks its whole state.
const verifyTimeout = 2 * time.Minute

// ClusterInfo is the servers as one of them sees them.
type ClusterInfo struct {
	ID string
	// Leader is a node id; empty: none is known.
	Leader       string
	Term         uint64
	AppliedIndex uint64
	Servers      []ServerInfo
	// Waiting is what the server that answered waits for, in words for people, if it is not part of
	// a cluster yet; else "".
	Waiting string
	// ActiveVersion is the active version of the log: it rises once all voters know the next one.
	ActiveVersion uint32
}

// ServerInfo is one server.
type ServerInfo struct {
	// ID is its node id, ServerID what was made with its data folder.
	ID, ServerID string
	// Addr is for clients and workers, PeerAddr for Raft, HTTPAddr for browsers.
	Addr, PeerAddr, HTTPAddr string
	// State is "leader", "follower", "candidate" or "unreachable".
	State        string
	Voter        bool
	AppliedIndex uint64
	Term         uint64
	// LastContact is the time since the leader heard from it.
	LastContact time.Duration
	Version     string
	// Problem is what keeps it from doing its part, in words for people; "": nothing is known.
	Problem string
	// KnowsVersion is the newest version of the log that its build knows; 0: it did not answer.
	KnowsVersion uint32
	// CommitIndex is how far it knows the log to be committed, and Lag how many entries its state is behind
	// that of the server that is furthest.
	CommitIndex, Lag uint64
	// DiskFree is the free space on the disk of its data, bytes; nil: it is not known.
	DiskFree *uint64
	// CertificateEnd is when its certificate expires; zero: it has none, or it is not known.
	CertificateEnd time.Time
}

// VerifyInfo is a comparison of the servers' states at one log index.
type VerifyInfo struct {
	Index uint64
	// OK: all voters answered, their digests are equal, and no invariant is broken.
	OK      bool
	Servers []DigestInfo
}

// DigestInfo is the digest of one server.
type DigestInfo struct {
	ID     string
	Index  uint64
	Digest uint64
	// Error says why there is no digest.
	Error string
	// Violations is the invariants that are broken.
	Violations []string
}

// WorkersOptions narrows what Workers returns. The zero value narrows nothing.
type WorkersOptions struct {
	// Worker is an id or a name; empty: all.
	Worker string
}

// Workers returns the workers with an open session, in the order of their ids. It fetches pages as
// it goes.
func (c *Client) Workers(ctx context.Context, opts WorkersOptions) ([]WorkerInfo, error) {
	var workers []WorkerInfo
	req := &rotav1.ListWorkersRequest{Worker: opts.Worker}
	for {
		resp, err := do(ctx, c, call{op: "list workers", safe: true}, func(ctx context.Context, s *server) (*rotav1.ListWorkersResponse, error) {
			return s.workers.ListWorkers(ctx, req)
		})
		if err != nil {
			return nil, err
		}
		for _, w := range resp.GetWorkers() {
			workers = append(workers, workerInfo(w))
		}
		more, err := nextPage(&req.PageToken, resp.GetNextPageToken())
		if !more || err != nil {
			return workers, err
		}
	}
}

// nextPage makes a page token that of the next page. more is false if there is none.
func nextPage(token *string, next string) (more bool, err error) {
	if next != "" && next == *token {
		return false, task.Errorf(task.KindInternal, "the server sent the same page token twice")
	}
	*token = next
	return next != "", nil
}

// Status returns the servers and who leads them.
func (c *Client) Status(ctx context.Context) (ClusterInfo, error) {
	resp, err := do(ctx, c, call{op: "get the cluster's status", safe: true}, func(ctx context.Context, s *server) (*rotav1.StatusResponse, error) {
		return s.cluster.Status(ctx, &rotav1.StatusRequest{})
	})
	if err != nil {
		return ClusterInfo{}, err
	}
	info := ClusterInfo{
		ID: resp.GetClusterId(), Leader: resp.GetLeader(), Term: resp.GetTerm(), AppliedIndex: resp.GetAppliedIndex(),
		Waiting: resp.GetWaiting(), ActiveVersion: resp.GetActiveVersion(), Servers: make([]ServerInfo, 0, len(resp.GetServers())),
	}
	for _, s := range resp.GetServers() {
		if s.GetId() == info.Leader && info.Leader != "" {
			if leader.Near(c.leader.Term(), info.Term) {
				c.finder.Learn(s.GetAddr())
				c.leader.announced(s.GetAddr(), info.Term)
			}
		}
		info.Servers = append(info.Servers, ServerInfo{
			ID: s.GetId(), ServerID: s.GetServerId(), Addr: s.GetAddr(), PeerAddr: s.GetPeerAddr(), HTTPAddr: s.GetHttpAddr(),
			State: serverState(s.GetState()), Voter: s.GetVoter(), AppliedIndex: s.GetAppliedIndex(), Term: s.GetTerm(),
			LastContact: s.GetLastContact().AsDuration(), Version: s.GetVersion(), Problem: s.GetProblem(), KnowsVersion: s.GetKnows(),
			CommitIndex: s.GetCommitIndex(), Lag: s.GetLag(), DiskFree: s.DiskFree, CertificateEnd: moment(s.GetCertificateEnd()),
		})
	}
	return info, nil
}

// serverState is the name of a state as it stands in JSON and tables.
func serverState(p rotav1.ServerState) string {
	name := strings.TrimPrefix(p.String(), "SERVER_STATE_")
	return strings.ToLower(name)
}

// Verify compares the states of all servers at one log index.
func (c *Client) Verify(ctx context.Context) (VerifyInfo, error) {
	op := call{op: "verify the cluster", safe: true, timeout: verifyTimeout}
	resp, err := do(ctx, c, op, func(ctx context.Context, s *server) (*rotav1.VerifyResponse, error) {
		return s.cluster.Verify(ctx, &rotav1.VerifyRequest{})
	})
	if err != nil {
		return VerifyInfo{}, err
	}
	info := VerifyInfo{Index: resp.GetIndex(), OK: resp.GetOk()}
	for _, s := range resp.GetServers() {
		info.Servers = append(info.Servers, DigestInfo{
			ID: s.GetId(), Index: s.GetIndex(), Digest: s.GetDigest(), Error: s.GetError(), Violations: s.GetViolations(),
		})
	}
	return info, nil
}

// LeaderInfo is who leads.
type LeaderInfo struct {
	// ID is its node id.
	ID   string
	Term uint64
}

// TransferLeader makes another server the leader: the voter with a node id, or, if that
// is "", the one with the most complete log. It returns once that server leads. If the server
// leads already, nothing changes.
func (c *Client) TransferLeader(ctx context.Context, to string) (LeaderInfo, error) {
	// Without a name, a second time is another transfer.
	op := call{op: "transfer leadership", mutation: true, safe: to != ""}
	resp, err := do(ctx, c, op, func(ctx context.Context, s *server) (*rotav1.TransferLeaderResponse, error) {
		return s.cluster.TransferLeader(ctx, &rotav1.TransferLeaderRequest{To: to})
	})
	return LeaderInfo{ID: resp.GetLeader(), Term: resp.GetTerm()}, err
}

// ListOptions narrows what List returns. The zero value is all jobs, as the leader
// knows them.
type ListOptions struct {
	// Queue, States and Name narrow; empty: any.
	Queue  string
	States []task.JobState
	Name   string
	// PageSize is how many jobs travel in one message, 1 to 1000; 0: 100.
	PageSize uint32
	// Stale lets any server answer from its own state, without asking the leader.
	Stale bool
	// MinIndex makes the answer see at least this log index.
	MinIndex uint64
}

// List returns jobs, newest first. It fetches pages as it goes; an error ends it.
func (c *Client) List(ctx context.Context, opts ListOptions) iter.Seq2[JobInfo, error] {
	return func(yield func(JobInfo, error) bool) {
		req := &rotav1.ListJobsRequest{
			Read:  &rotav1.ReadOptions{Stale: opts.Stale, MinIndex: opts.MinIndex},
			Queue: opts.Queue, Name: opts.Name, PageSize: opts.PageSize,
		}
		for _, s := range opts.States {
			req.States = append(req.States, wire.JobStateToProto(s))
		}
		for {
			resp, err := do(ctx, c, call{op: "list jobs", safe: true}, func(ctx context.Context, s *server) (*rotav1.ListJobsResponse, error) {
				return s.jobs.ListJobs(ctx, req)
			})
			if err != nil {
				yield(JobInfo{}, err)
				return
			}
			for _, p := range resp.GetJobs() {
				info, err := jobInfo(p)
				info.AppliedIndex, info.Stale = resp.GetAppliedIndex(), resp.GetStale()
				if !yield(info, err) || err != nil {
					return
				}
			}
			more, err := nextPage(&req.PageToken, resp.GetNextPageToken())
			if err != nil {
				yield(JobInfo{}, fmt.Errorf("list jobs: %w", err))
			}
			if !more {
				return
			}
		}
	}
}
