package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// pageSize is how many jobs a list has at once; the most that servers allow.
const pageSize = 1000

// Drain waits until every job is final.
func Drain(ctx context.Context, c *cluster.Cluster) error {
	cl, err := c.Client(c.Clients[0])
	if err != nil {
		return err
	}
	defer cl.Close()
	return drained(ctx, cl)
}

// drained waits until every job that a client sees is final.
func drained(ctx context.Context, cl *client.Client) error {
	return cluster.Await(ctx, "the end of all jobs", func() error {
		for j, err := range cl.List(ctx, client.ListOptions{States: []task.JobState{task.JobPending, task.JobRunning}}) {
			if err != nil {
				return err
			}
			return fmt.Errorf("job %d is %v", j.ID, j.State)
		}
		return nil
	})
}

const (
	// finalTries is how often a server is read in the end before it counts as one that does
	// not answer, readAgain the wait between two.
	finalTries = 3
	readAgain  = time.Second
)

// finalTimeout bounds the comparison of the servers, and the reads of each.
const finalTimeout = 45 * time.Second

// Final records what every server has: its jobs, its results, and its digest. A server that
// does not answer is left out, which is for the checkers to see.
func Final(ctx context.Context, c *cluster.Cluster, rec *history.Recorder) error {
	index, err := compare(ctx, c, rec)
	errs := []error{err}
	for _, s := range c.Servers {
		if !s.Running() {
			errs = append(errs, fmt.Errorf("final reads of %s: it does not run", s.Name))
			continue
		}
		err := finalOf(ctx, s, index, rec)
		for again := 1; err != nil && again < finalTries && ticks.Sleep(ctx, readAgain); again++ {
			// A server whose clock was set back takes each of its connections for dead, once.
			err = finalOf(ctx, s, index, rec)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("final reads of %s: %w", s.Name, err))
		}
	}
	return errors.Join(errs...)
}

// compareAgain is the wait before servers of which one has no digest are compared again.
const compareAgain = time.Second

// complete says whether every server has a digest.
func complete(info client.VerifyInfo) bool {
	return !slices.ContainsFunc(info.Servers, func(s client.DigestInfo) bool { return s.Error != "" })
}

// compare records the digests of all servers at one log index, and returns it.
func compare(ctx context.Context, c *cluster.Cluster, rec *history.Recorder) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, finalTimeout)
	defer cancel()
	cl, err := c.Client(c.Servers[0].Host)
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	info, err := cl.Verify(ctx)
	// A server that was away for long may have to wait as long again until it is sent what it missed, because raft
	// tries it less and less often.
	for (err != nil || !complete(info)) && ticks.Sleep(ctx, compareAgain) {
		var again client.VerifyInfo
		if again, err = cl.Verify(ctx); err == nil {
			info = again
		}
	}
	if info.Index == 0 {
		return 0, fmt.Errorf("compare the servers: %w", err)
	}
	digests := history.Digests{Index: info.Index}
	for _, s := range info.Servers {
		digests.Servers = append(digests.Servers, history.Digest{
			Node: s.ID, Index: s.Index, Digest: strconv.FormatUint(s.Digest, 16), Error: s.Error, Violations: s.Violations,
		})
	}
	rec.Note(history.Observer, history.FDigest, "", digests)
	return info.Index, nil
}

func finalOf(ctx context.Context, s *cluster.Server, index uint64, rec *history.Recorder) error {
	ctx, cancel := context.WithTimeout(ctx, finalTimeout)
	defer cancel()
	conn, err := s.At()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	// From the server's own state, and not before it has everything. No leader is asked, as
	// it may be on its way to another server.
	own := &rotav1.ReadOptions{Stale: true, MinIndex: index}
	list, err := listAll(ctx, conn, &rotav1.ListJobsRequest{Read: own, PageSize: pageSize})
	if err != nil {
		return err
	}
	rec.Note(history.Observer, history.FFinalJobs, s.Name, list)
	var results history.Results
	for _, j := range list.Jobs {
		outcomes, err := allResults(ctx, conn, j.ID, own)
		if err != nil {
			return fmt.Errorf("results of job %d: %w", j.ID, err)
		}
		results.Jobs = append(results.Jobs, history.JobResults{Job: j.ID, Outcomes: outcomes})
	}
	rec.Note(history.Observer, history.FFinalResults, s.Name, results)
	return nil
}

func listAll(ctx context.Context, conn *cluster.Conn, req *rotav1.ListJobsRequest) (history.Jobs, error) {
	var out history.Jobs
	for {
		resp, err := conn.Jobs.ListJobs(ctx, req)
		if err != nil {
			return out, err
		}
		out.Applied = resp.GetAppliedIndex()
		out.Jobs = append(out.Jobs, jobs(resp.GetJobs())...)
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			return out, nil
		}
	}
}

// openJobs is the jobs that more tasks can be appended to.
func openJobs(ctx context.Context, c *Client) ([]client.JobInfo, error) {
	var open []client.JobInfo
	for j, err := range c.sdk.List(ctx, client.ListOptions{States: []task.JobState{task.JobPending, task.JobRunning}, PageSize: pageSize}) {
		if err != nil {
			return nil, err
		}
		if j.Open {
			open = append(open, j)
		}
	}
	return open, nil
}

// allResults is the results that one server has of a job, in the order of completion.
func allResults(ctx context.Context, conn *cluster.Conn, job uint64, read *rotav1.ReadOptions) ([]history.Outcome, error) {
	stream, err := conn.Jobs.StreamResults(ctx, &rotav1.StreamResultsRequest{JobId: job, NoWait: true, Read: read})
	if err != nil {
		return nil, err
	}
	out := []history.Outcome{}
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		for _, g := range msg.GetGroups() {
			some, err := groupOutcomes(g)
			if err != nil {
				return nil, err
			}
			out = append(out, some...)
		}
	}
}

// groupOutcomes takes results apart that ended alike.
func groupOutcomes(g *rotav1.ResultGroup) ([]history.Outcome, error) {
	state, err := wire.StateFromProto(g.GetState())
	if err != nil {
		return nil, err
	}
	var out []history.Outcome
	outputs := g.GetPackedOutputs()
	for _, r := range g.GetRanges() {
		for i := r.GetFirst(); i < r.GetFirst()+r.GetCount(); i++ {
			o := history.Outcome{Index: i, State: state.String(), Reason: task.Reason(g.GetReason()).String(), Attempt: g.GetAttempt(), Worker: g.GetWorker()}
			if g.GetGranted() {
				o.Token = uint64(int64(i) + g.GetTokenOffset())
			}
			if len(g.GetPackedOutputs()) > 0 {
				output, rest, ok := task.PackNext(outputs)
				if !ok {
					return nil, fmt.Errorf("the outputs of a group of results are cut short at task %d", i)
				}
				o.Output, outputs = text(output), rest
			}
			out = append(out, o)
		}
	}
	return out, nil
}

// OutcomeOf is a result as the history has it.
func OutcomeOf(r *client.Result) history.Outcome {
	return history.Outcome{
		Index: r.Index, State: r.State.String(), Reason: r.Reason.String(), Attempt: r.Attempt, Token: r.Token, Worker: r.Worker, Output: text(r.Output),
	}
}

// text is an output as it stands in a history: printable, and whole.
func text(output []byte) string {
	if len(output) == 0 {
		return ""
	}
	quoted := strconv.QuoteToASCII(string(output))
	return quoted[1 : len(quoted)-1]
}

func jobs(list []*rotav1.Job) []history.Job {
	out := make([]history.Job, 0, len(list))
	for _, j := range list {
		t := j.GetTasks()
		out = append(out, history.Job{
			ID: j.GetId(), Key: j.GetRequestKey(), State: stateName(j), Final: j.GetState() >= rotav1.JobState_JOB_STATE_SUCCEEDED, Total: t.GetTotal(),
			Counted: t.GetBlocked() + t.GetScheduled() + t.GetPending() + t.GetAssigned() + t.GetStopping() + t.GetSucceeded() + t.GetFailed() + t.GetCancelled(),
			Held:    t.GetAssigned() + t.GetStopping(),
		})
	}
	return out
}

func stateName(j *rotav1.Job) string {
	state, err := wire.JobStateFromProto(j.GetState())
	if err != nil {
		return "unknown"
	}
	return state.String()
}
