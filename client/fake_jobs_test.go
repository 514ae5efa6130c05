package client_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// fakeJob is a job whose tasks answer with their payload in upper case.
type fakeJob struct {
	id       uint64
	spec     *rotav1.JobSpec
	request  []byte
	payloads [][]byte
	// chunks has the sizes of the requests that brought tasks, appends the number of tasks of all but the first.
	chunks  []int
	appends []uint32
	// renewed counts appends of nothing.
	renewed   int
	open      bool
	hold      bool
	cancelled bool
	retryOf   uint64
	// done is the final tasks in the order in which they completed.
	done  []uint32
	final map[uint32]bool
}

// complete makes one task final. It reports false if the task was final already.
func (j *fakeJob) complete(i uint32) bool {
	if j.final[i] {
		return false
	}
	if j.final == nil {
		j.final = map[uint32]bool{}
	}
	j.final[i] = true
	j.done = append(j.done, i)
	return true
}

func (j *fakeJob) over() bool { return !j.open && len(j.done) == len(j.payloads) }

func (j *fakeJob) proto() *rotav1.Job {
	p := &rotav1.Job{
		Id: j.id, Spec: j.spec, State: rotav1.JobState_JOB_STATE_RUNNING, Open: j.open, RetryOf: j.retryOf,
		Tasks: &rotav1.TaskCounts{
			Total: uint32(len(j.payloads)), Pending: uint32(len(j.payloads) - len(j.done)), Succeeded: uint32(len(j.done)),
		},
		SubmittedAt: timestamppb.New(time.Unix(100, 0)), Cancelling: j.cancelled,
	}
	switch {
	case !j.over():
	case j.cancelled:
		p.State, p.Reason = rotav1.JobState_JOB_STATE_CANCELLED, rotav1.Reason_REASON_USER
	default:
		p.State, p.FinishedAt = rotav1.JobState_JOB_STATE_SUCCEEDED, timestamppb.New(time.Unix(200, 0))
	}
	return p
}

// grow adds tasks and, unless tests do it by hand, completes them, the last one first.
func (c *fakeCluster) grow(j *fakeJob, set *rotav1.TaskSet) {
	rest := set.GetPackedPayloads()
	for range set.GetCount() {
		payload := j.spec.GetSharedPayload()
		if len(set.GetPackedPayloads()) > 0 {
			payload, rest, _ = task.PackNext(rest)
		}
		j.payloads = append(j.payloads, payload)
	}
	j.chunks = append(j.chunks, len(set.GetPackedPayloads()))
	if c.manual || j.hold && j.open {
		return
	}
	c.finish(j)
}

func (c *fakeCluster) finish(j *fakeJob) {
	for i := len(j.payloads) - 1; i >= 0; i-- {
		j.complete(uint32(i))
	}
}

// complete finishes one task of a job whose tasks are finished by hand.
func (c *fakeCluster) complete(job uint64, index uint32) {
	c.locked(func() { c.jobs[job].complete(index) })
}

func (c *fakeCluster) add(j *fakeJob) {
	j.id = uint64(len(c.jobs) + 1)
	c.jobs[j.id] = j
}

func (s *fakeServer) Submit(_ context.Context, req *rotav1.SubmitRequest) (resp *rotav1.SubmitResponse, err error) {
	s.c.locked(func() {
		data, _ := proto.MarshalOptions{Deterministic: true}.Marshal(req)
		if j := s.c.keys[req.GetRequestKey()]; j != nil && req.GetRequestKey() != "" {
			if !bytes.Equal(data, j.request) {
				err = task.Errorf(task.KindConflict, "request key %q was used for another job", req.GetRequestKey())
				return
			}
			resp = &rotav1.SubmitResponse{JobId: j.id, Existed: true}
			return
		}
		j := &fakeJob{spec: req.GetSpec(), request: data, open: req.GetOpen(), hold: req.GetHold()}
		s.c.add(j)
		s.c.keys[req.GetRequestKey()] = j
		s.c.grow(j, req.GetTasks())
		resp = &rotav1.SubmitResponse{JobId: j.id}
	})
	return resp, err
}

// job returns a job; mu is held.
func (c *fakeCluster) job(id uint64) (*fakeJob, error) {
	if j := c.jobs[id]; j != nil {
		return j, nil
	}
	return nil, task.Errorf(task.KindNotFound, "there is no job %d", id)
}

func (s *fakeServer) AppendTasks(_ context.Context, req *rotav1.AppendTasksRequest) (resp *rotav1.AppendTasksResponse, err error) {
	s.c.locked(func() {
		var j *fakeJob
		if j, err = s.c.job(req.GetJobId()); err != nil {
			return
		}
		first, total := int(req.GetFirstIndex()), len(j.payloads)
		switch {
		case j.cancelled:
			err = task.Errorf(task.KindConflict, "the job was cancelled")
		case first > total:
			err = task.Errorf(task.KindInvalid, "gap: the job has %d tasks, these begin at %d", total, first)
		case req.GetTasks().GetCount() == 0:
			j.renewed++
		case first < total:
			again := &fakeJob{spec: j.spec}
			(&fakeCluster{manual: true}).grow(again, req.GetTasks())
			if first+len(again.payloads) > total || !slices.EqualFunc(again.payloads, j.payloads[first:first+len(again.payloads)], bytes.Equal) {
				err = task.Errorf(task.KindConflict, "other tasks stand at %d", first)
			}
		case !j.open:
			err = task.Errorf(task.KindConflict, "the job is closed")
		default:
			j.appends = append(j.appends, req.GetTasks().GetCount())
			s.c.grow(j, req.GetTasks())
		}
		resp = &rotav1.AppendTasksResponse{Total: uint32(len(j.payloads))}
	})
	return resp, err
}

func (s *fakeServer) ListAppends(_ context.Context, req *rotav1.ListAppendsRequest) (resp *rotav1.ListAppendsResponse, err error) {
	s.c.locked(func() {
		var j *fakeJob
		if j, err = s.c.job(req.GetJobId()); err != nil {
			return
		}
		resp = &rotav1.ListAppendsResponse{}
		at := uint32(0)
		for _, n := range j.appends {
			// Pages are short here, so that there are many.
			if at >= req.GetFirstIndex() && len(resp.Counts) < 3 {
				resp.Counts = append(resp.Counts, n)
			}
			at += n
		}
	})
	return resp, err
}

func (s *fakeServer) CloseTasks(_ context.Context, req *rotav1.CloseTasksRequest) (resp *rotav1.CloseTasksResponse, err error) {
	s.c.locked(func() {
		var j *fakeJob
		if j, err = s.c.job(req.GetJobId()); err != nil {
			return
		}
		if int(req.GetTotal()) != len(j.payloads) {
			err = task.Errorf(task.KindConflict, "the job has %d tasks, not %d", len(j.payloads), req.GetTotal())
			return
		}
		j.open = false
		if !s.c.manual {
			s.c.finish(j)
		}
		resp = &rotav1.CloseTasksResponse{}
	})
	return resp, err
}

func (s *fakeServer) GetJob(_ context.Context, req *rotav1.GetJobRequest) (resp *rotav1.GetJobResponse, err error) {
	s.c.locked(func() {
		var j *fakeJob
		if j, err = s.c.job(req.GetJobId()); err != nil {
			return
		}
		resp = &rotav1.GetJobResponse{Job: j.proto(), AppliedIndex: 17}
		if i := req.GetTaskIndex(); req.TaskIndex != nil && int(i) < len(j.payloads) {
			resp.Task = &rotav1.Task{Index: i, State: rotav1.TaskState_TASK_STATE_PENDING}
			if j.final[i] {
				resp.Task.State, resp.Task.Attempt, resp.Task.Token = rotav1.TaskState_TASK_STATE_SUCCEEDED, 1, uint64(i)+1000
			}
		}
	})
	return resp, err
}

func (s *fakeServer) ListJobs(_ context.Context, req *rotav1.ListJobsRequest) (resp *rotav1.ListJobsResponse, err error) {
	s.c.locked(func() {
		resp = &rotav1.ListJobsResponse{AppliedIndex: 17, Stale: req.GetRead().GetStale()}
		next := uint64(len(s.c.jobs))
		if req.GetPageToken() != "" {
			next, _ = strconv.ParseUint(req.GetPageToken(), 10, 64)
		}
		for ; next > 0; next-- {
			if size := int(req.GetPageSize()); size > 0 && len(resp.GetJobs()) == size {
				resp.NextPageToken = strconv.FormatUint(next, 10)
				return
			}
			resp.Jobs = append(resp.Jobs, s.c.jobs[next].proto())
		}
	})
	return resp, err
}

func (s *fakeServer) WaitJob(ctx context.Context, req *rotav1.WaitJobRequest) (*rotav1.WaitJobResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, req.GetWait().AsDuration())
	defer cancel()
	var resp *rotav1.WaitJobResponse
	var err error
	_ = s.c.await(ctx, func() bool {
		var j *fakeJob
		if j, err = s.c.job(req.GetJobId()); err != nil {
			return true
		}
		resp = &rotav1.WaitJobResponse{Job: j.proto()}
		return j.over()
	})
	return resp, err
}

func (s *fakeServer) CancelJob(_ context.Context, req *rotav1.CancelJobRequest) (resp *rotav1.CancelJobResponse, err error) {
	s.c.locked(func() {
		var j *fakeJob
		if j, err = s.c.job(req.GetJobId()); err != nil {
			return
		}
		resp = &rotav1.CancelJobResponse{}
		if req.TaskIndex != nil {
			if j.complete(req.GetTaskIndex()) {
				resp.Cancelled = 1
			}
			return
		}
		resp.Cancelled = uint32(len(j.payloads) - len(j.done))
		j.cancelled, j.open = true, false
		s.c.finish(j)
	})
	return resp, err
}

// copying reports whether a retry needs another request to copy all payloads.
func (c *fakeCluster) copying() bool {
	if c.copies == 0 {
		return false
	}
	c.copies--
	return true
}

func (s *fakeServer) RetryJob(_ context.Context, req *rotav1.RetryJobRequest) (resp *rotav1.RetryJobResponse, err error) {
	s.c.locked(func() {
		var j *fakeJob
		if j, err = s.c.job(req.GetJobId()); err != nil {
			return
		}
		if old := s.c.keys[req.GetRequestKey()]; old != nil && req.GetRequestKey() != "" {
			resp = &rotav1.RetryJobResponse{JobId: old.id, Existed: true, Unfinished: s.c.copying()}
			return
		}
		again := &fakeJob{spec: j.spec, retryOf: j.id, payloads: slices.Clone(j.payloads)}
		s.c.add(again)
		s.c.keys[req.GetRequestKey()] = again
		s.c.finish(again)
		resp = &rotav1.RetryJobResponse{JobId: again.id, Unfinished: s.c.copying()}
	})
	return resp, err
}

// StreamResults sends a few results at a time. Its cursor is a mark and then the number of results before it: the
// mark keeps clients from reading the cursor as a number.
func (s *fakeServer) StreamResults(req *rotav1.StreamResultsRequest, stream grpc.ServerStreamingServer[rotav1.StreamResultsResponse]) error {
	if s.c.stream != nil {
		return s.c.stream(req, stream)
	}
	sent := 0
	if cursor, ok := bytes.CutPrefix(req.GetCursor(), []byte("cursor-")); ok {
		sent, _ = strconv.Atoi(string(cursor))
	}
	for {
		var msg *rotav1.StreamResultsResponse
		var err error
		if waitErr := s.c.await(stream.Context(), func() bool {
			var j *fakeJob
			if j, err = s.c.job(req.GetJobId()); err != nil {
				return true
			}
			msg = s.c.message(j, req.GetOrder(), sent)
			return msg != nil
		}); waitErr != nil {
			return waitErr
		}
		if err != nil {
			return err
		}
		for _, g := range msg.GetGroups() {
			sent += len(g.GetRanges())
		}
		msg.Cursor = fmt.Appendf(nil, "cursor-%d", sent)
		if err := stream.Send(msg); err != nil {
			return err
		}
		if msg.GetComplete() {
			return nil
		}
	}
}

// message is the next message of a stream, or nil when there is none yet. mu is held.
func (c *fakeCluster) message(j *fakeJob, order rotav1.ResultOrder, sent int) *rotav1.StreamResultsResponse {
	ready := j.done
	if order == rotav1.ResultOrder_RESULT_ORDER_INDEX {
		ready = nil
		for i := range uint32(len(j.payloads)) {
			if !j.final[i] {
				break
			}
			ready = append(ready, i)
		}
	}
	end := min(len(ready), sent+c.perMessage)
	msg := &rotav1.StreamResultsResponse{}
	if next := ready[min(sent, end):end]; len(next) > 0 {
		msg.Groups = []*rotav1.ResultGroup{c.group(j, next[:1]), c.group(j, next[1:])}
	}
	if end == len(ready) && j.over() {
		msg.Complete, msg.Job = true, j.proto()
	}
	if msg.Groups == nil && !msg.GetComplete() {
		return nil
	}
	return msg
}

func (c *fakeCluster) group(j *fakeJob, indexes []uint32) *rotav1.ResultGroup {
	g := &rotav1.ResultGroup{
		State: rotav1.TaskState_TASK_STATE_SUCCEEDED, Granted: true, TokenOffset: 1000, Attempt: 1, Worker: "w1",
		ExitCode: proto.Int32(0), FinishedAt: timestamppb.New(time.Unix(150, 0)),
	}
	for _, i := range indexes {
		g.Ranges = append(g.Ranges, &rotav1.IndexRange{First: i, Count: 1})
		g.PackedOutputs = task.PackAppend(g.GetPackedOutputs(), bytes.ToUpper(j.payloads[i]))
	}
	return g
}

func (s *fakeServer) Status(context.Context, *rotav1.StatusRequest) (resp *rotav1.StatusResponse, err error) {
	s.c.locked(func() {
		resp = &rotav1.StatusResponse{Leader: fmt.Sprintf("n%d", s.c.leader), Term: s.c.term, ClusterId: "fake"}
		for _, other := range s.c.servers {
			p := &rotav1.Server{Id: fmt.Sprintf("n%d", other.n), Addr: other.addr, State: rotav1.ServerState_SERVER_STATE_FOLLOWER, Voter: true}
			if other.n == s.c.leader {
				p.State = rotav1.ServerState_SERVER_STATE_LEADER
			}
			resp.Servers = append(resp.Servers, p)
		}
	})
	return resp, nil
}

func (s *fakeServer) WatchLeader(_ *rotav1.WatchLeaderRequest, stream grpc.ServerStreamingServer[rotav1.WatchLeaderResponse]) error {
	var lie *rotav1.WatchLeaderResponse
	s.c.locked(func() { lie = s.c.lies[s.n] })
	if lie != nil {
		if err := stream.Send(lie); err != nil {
			return err
		}
		<-stream.Context().Done()
		return nil
	}
	var told uint64
	for {
		var msg *rotav1.WatchLeaderResponse
		if err := s.c.await(stream.Context(), func() bool {
			msg = &rotav1.WatchLeaderResponse{Term: s.c.term, LeaderAddr: s.c.servers[s.c.leader].addr, Servers: s.c.config().Addrs}
			return s.c.term > told
		}); err != nil {
			return wire.ToStatus(err)
		}
		told = msg.GetTerm()
		if err := stream.Send(msg); err != nil {
			return err
		}
	}
}

func (s *fakeServer) Verify(context.Context, *rotav1.VerifyRequest) (*rotav1.VerifyResponse, error) {
	return &rotav1.VerifyResponse{Index: 9, Ok: true, Servers: []*rotav1.ServerDigest{{Id: "n0", Index: 9, Digest: 0xabc}}}, nil
}

func (s *fakeServer) ListWorkers(_ context.Context, req *rotav1.ListWorkersRequest) (*rotav1.ListWorkersResponse, error) {
	return &rotav1.ListWorkersResponse{Workers: []*rotav1.Worker{{
		Id: "w1", Name: req.GetWorker(), Slots: 4, LastBeat: durationpb.New(time.Second), Labels: map[string]string{"zone": "a"},
		RunningTasks: []*rotav1.RunningTask{{JobId: 42, Index: 7, RunTime: durationpb.New(time.Minute)}},
	}}}, nil
}
