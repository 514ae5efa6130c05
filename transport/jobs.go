package transport

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"reflect"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/peerpb"
	"github.com/rota-scheduler/rota/wire"
)

// Submit implements the job service.
func (s *Server) Submit(ctx context.Context, r *rotav1.SubmitRequest) (*rotav1.SubmitResponse, error) {
	// Checked where it arrives: a request that cannot succeed need not be forwarded.
	op, spec, err := s.submitOp(r)
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return atLeader(ctx, s, r,
		func(ctx context.Context, r *rotav1.SubmitRequest) (*rotav1.SubmitResponse, error) {
			began := time.Now()
			res, err := s.node.Submit(ctx, op, spec)
			if err != nil {
				return nil, err
			}
			s.measures.submit.Add(time.Since(began))
			return s.submitted(r, res), nil
		},
		func(c grpc.ClientConnInterface, ctx context.Context, r *rotav1.SubmitRequest) (*rotav1.SubmitResponse, error) {
			return rotav1.NewJobServiceClient(c).Submit(ctx, r)
		})
}

// submitted is the answer to a submit.
func (s *Server) submitted(r *rotav1.SubmitRequest, res fsm.Result) *rotav1.SubmitResponse {
	resp := &rotav1.SubmitResponse{JobId: res.Job, Existed: res.Existed, AppliedIndex: res.Index}
	if r.GetExplain() {
		m := s.node.State().Machine()
		resp.StartsAt, resp.Missing = stamp(m.StartsAt(res.Job)), s.missing(res.Job)
	}
	return resp
}

// missing is why no connected worker can run the waiting tasks of a job, as the leader knows it. A server that has lost
// its leadership meanwhile, and with it all workers, says nothing.
func (s *Server) missing(job uint64) []string {
	missing := s.node.State().Machine().Missing(job, s.node.Fleet().Connected)
	if !s.node.Fleet().Leads() {
		return nil
	}
	return missing
}

// checkSize refuses a request that is too large. gRPC's limit is not enough: it leaves room for what wraps a request, and a
// message of a stream may have several.
func checkSize(r proto.Message) error {
	if n := proto.Size(r); n > task.MaxRequest {
		return task.Errorf(task.KindTooLarge, "a request of %d bytes is too large, the limit is %d: submit the job open, and append its tasks in parts", n, task.MaxRequest)
	}
	return nil
}

// submitOp checks a submit by the rules of the active version, and translates it.
func (s *Server) submitOp(r *rotav1.SubmitRequest) (*logpb.Submit, *task.Spec, error) {
	return submitOp(r, s.rules())
}

// rules is what applying the log depends on, by the active version.
func (s *Server) rules() *task.Rules {
	return task.RulesOf(s.node.State().Machine().ActiveVersion())
}

func submitOp(r *rotav1.SubmitRequest, rules *task.Rules) (*logpb.Submit, *task.Spec, error) {
	if err := cmp.Or(checkSize(r), wire.CheckKnown(r, r.GetTasks())); err != nil {
		return nil, nil, err
	}
	spec, err := wire.SpecFromProto(r.GetSpec())
	if err != nil {
		return nil, nil, err
	}
	given := spec
	rules.SetDefaults(&spec)
	if err := rules.Validate(&spec); err != nil {
		return nil, nil, err
	}
	if err := rules.ValidKey(r.GetRequestKey()); err != nil {
		return nil, nil, err
	}
	tasks, err := tasksOf(r.GetTasks(), r.GetOpen(), rules)
	if err != nil {
		return nil, nil, err
	}
	if n := spec.ValueCount(); n > 0 && (r.GetOpen() || n != uint64(tasks.GetCount())) {
		return nil, nil, task.Errorf(task.KindInvalid, "there are values for %d tasks, the job has %d", n, tasks.GetCount())
	}
	raw, err := fsm.EncodeSpec(&spec)
	if err != nil {
		return nil, nil, task.Errorf(task.KindInvalid, "the spec cannot be encoded: %v", err)
	}
	op := &logpb.Submit{Spec: raw, Tasks: tasks, Key: r.GetRequestKey(), Open: r.GetOpen(), Hold: r.GetHold()}
	if op.Key != "" {
		same, err := sameForEver(&given, &spec, raw)
		if err != nil {
			return nil, nil, task.Errorf(task.KindInvalid, "the spec cannot be encoded: %v", err)
		}
		op.Hash = requestHash(op, same)
	}
	return op, &spec, nil
}

// sameForEver is the encoded spec of a request, as given, with the defaults of the first version. raw is spec, with those
// of the active version. A request that is sent again after a rise may get other defaults, and must not be taken for
// another request.
func sameForEver(given, spec *task.Spec, raw []byte) ([]byte, error) {
	stored := *given
	task.StoredRules.SetDefaults(&stored)
	if reflect.DeepEqual(&stored, spec) {
		return raw, nil
	}
	return fsm.EncodeSpec(&stored)
}

// requestHash is the hash of a request without its key. spec stands for its spec.
func requestHash(op *logpb.Submit, spec []byte) []byte {
	h := sha256.New()
	var n [8]byte
	write := func(b []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	write(spec)
	write(op.Tasks.GetPacked())
	flags := uint64(op.Tasks.GetCount()) << 2
	if op.Open {
		flags |= 1
	}
	if op.Hold {
		flags |= 2
	}
	binary.BigEndian.PutUint64(n[:], flags)
	h.Write(n[:])
	binary.BigEndian.PutUint64(n[:], op.RetryOf)
	h.Write(n[:])
	return h.Sum(nil)[:16]
}

func tasksOf(t *rotav1.TaskSet, open bool, rules *task.Rules) (*logpb.Tasks, error) {
	count, packed := t.GetCount(), t.GetPackedPayloads()
	switch {
	case count == 0 && !open:
		return nil, task.Errorf(task.KindInvalid, "a job needs at least one task")
	case count == 0 && len(packed) > 0:
		return nil, task.Errorf(task.KindInvalid, "payloads without a count of tasks")
	case int(count) > rules.MaxTasks:
		return nil, task.Errorf(task.KindTooLarge, "%d tasks are more than a job can have (%d): split it into several jobs", count, rules.MaxTasks)
	}
	if len(packed) > 0 {
		if err := task.PackCheck(packed, int(count), rules.MaxPayload); err != nil {
			return nil, err
		}
	}
	return &logpb.Tasks{Count: count, Packed: packed}, nil
}

// AppendTasks implements the job service.
func (s *Server) AppendTasks(ctx context.Context, r *rotav1.AppendTasksRequest) (*rotav1.AppendTasksResponse, error) {
	op, err := appendOp(r, s.rules())
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return atLeader(ctx, s, r,
		func(ctx context.Context, r *rotav1.AppendTasksRequest) (*rotav1.AppendTasksResponse, error) {
			res, err := s.node.Propose(ctx, op)
			if err != nil {
				return nil, err
			}
			return &rotav1.AppendTasksResponse{Total: res.Total, AppliedIndex: res.Index}, nil
		},
		func(c grpc.ClientConnInterface, ctx context.Context, r *rotav1.AppendTasksRequest) (*rotav1.AppendTasksResponse, error) {
			return rotav1.NewJobServiceClient(c).AppendTasks(ctx, r)
		})
}

// maxAppends is how many appends of a job are on one page of ListAppends.
const maxAppends = 4096

// ListAppends implements the job service.
func (s *Server) ListAppends(ctx context.Context, r *rotav1.ListAppendsRequest) (*rotav1.ListAppendsResponse, error) {
	if r.GetPageSize() > maxAppends {
		return nil, wire.ToStatus(task.Errorf(task.KindInvalid, "a page of %d appends is too large: use 1 to %d", r.GetPageSize(), maxAppends))
	}
	limit := int(r.GetPageSize())
	if limit == 0 {
		limit = maxAppends
	}
	if err := s.fresh(ctx, r.GetRead()); err != nil {
		return nil, wire.ToStatus(err)
	}
	index := s.node.State().Machine().AppliedIndex()
	// A job that does not exist is an error, not an empty list.
	if _, err := s.node.State().Job(r.GetJobId()); err != nil {
		return nil, wire.ToStatus(err)
	}
	counts, err := s.node.State().Appends(r.GetJobId(), r.GetFirstIndex(), limit)
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return &rotav1.ListAppendsResponse{Counts: counts, AppliedIndex: index}, nil
}

func appendOp(r *rotav1.AppendTasksRequest, rules *task.Rules) (*logpb.Op, error) {
	if err := cmp.Or(checkSize(r), wire.CheckKnown(r, r.GetTasks())); err != nil {
		return nil, err
	}
	tasks, err := tasksOf(r.GetTasks(), true, rules)
	if err != nil {
		return nil, err
	}
	return &logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: &logpb.AppendTasks{Job: r.GetJobId(), FirstIndex: r.GetFirstIndex(), Tasks: tasks}}}, nil
}

// CloseTasks implements the job service.
func (s *Server) CloseTasks(ctx context.Context, r *rotav1.CloseTasksRequest) (*rotav1.CloseTasksResponse, error) {
	return atLeader(ctx, s, r,
		func(ctx context.Context, r *rotav1.CloseTasksRequest) (*rotav1.CloseTasksResponse, error) {
			res, err := s.node.Propose(ctx, &logpb.Op{Op: &logpb.Op_CloseTasks{CloseTasks: &logpb.CloseTasks{Job: r.GetJobId(), Total: r.GetTotal()}}})
			if err != nil {
				return nil, err
			}
			return &rotav1.CloseTasksResponse{AppliedIndex: res.Index}, nil
		},
		func(c grpc.ClientConnInterface, ctx context.Context, r *rotav1.CloseTasksRequest) (*rotav1.CloseTasksResponse, error) {
			return rotav1.NewJobServiceClient(c).CloseTasks(ctx, r)
		})
}

// GetJob implements the job service.
func (s *Server) GetJob(ctx context.Context, r *rotav1.GetJobRequest) (*rotav1.GetJobResponse, error) {
	running, err := s.freshRunning(ctx, r.GetRead(), &peerpb.ReadIndexRequest{RunningOf: r.GetJobId(), RunTimeOf: r.TaskIndex})
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	index := s.node.State().Machine().AppliedIndex()
	rec, err := s.node.State().Job(r.GetJobId())
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	var job *rotav1.Job
	err = wire.Read(ctx, func() (err error) { job, err = s.jobOf(rec); return err })
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	resp := &rotav1.GetJobResponse{Job: job, AppliedIndex: index, Stale: r.GetRead().GetStale()}
	if r.TaskIndex != nil {
		if resp.Task, err = s.taskOf(rec, *r.TaskIndex); err != nil {
			return nil, wire.ToStatus(err)
		}
	}
	if job.LastFailure, err = s.lastFailure(rec); err != nil {
		return nil, wire.ToStatus(err)
	}
	// A beat may be older than what is recorded.
	job.Tasks.Running = min(running.GetRunning(), job.Tasks.Assigned)
	job.Missing = running.GetMissing()
	if running != nil && running.RunTimeNs != nil && resp.GetTask().GetState() == rotav1.TaskState_TASK_STATE_ASSIGNED {
		resp.Task.RunTime = durationpb.New(time.Duration(running.GetRunTimeNs()))
	}
	return resp, nil
}

const (
	defaultWait = 30 * time.Second
	maxWait     = 60 * time.Second
)

// WaitJob implements the job service.
func (s *Server) WaitJob(ctx context.Context, r *rotav1.WaitJobRequest) (*rotav1.WaitJobResponse, error) {
	wait := defaultWait
	if r.GetWait() != nil {
		wait = max(0, min(r.GetWait().AsDuration(), maxWait))
	}
	ctx, cancel := s.streamContext(ctx)
	defer cancel()
	if err := s.fresh(ctx, r.GetRead()); err != nil {
		return nil, wire.ToStatus(err)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	changed, stop := s.node.State().Watchers().Watch(r.GetJobId())
	defer stop()
	for over := false; ; {
		rec, err := s.node.State().Job(r.GetJobId())
		if err != nil {
			return nil, wire.ToStatus(err)
		}
		if over || store.JobState(rec).Final() {
			var job *rotav1.Job
			err := wire.Read(ctx, func() (err error) { job, err = s.jobOf(rec); return err })
			return &rotav1.WaitJobResponse{Job: job, AppliedIndex: s.node.State().Machine().AppliedIndex()}, wire.ToStatus(err)
		}
		select {
		case <-changed:
		case <-timer.C:
			over = true
		case <-ctx.Done():
			return nil, wire.ToStatus(s.ended(ctx))
		}
	}
}

// ended says why a context of streamContext ended.
func (s *Server) ended(ctx context.Context) error {
	if s.stopping.Err() != nil {
		return task.Errorf(task.KindUnavailable, "the server is shutting down")
	}
	return ctx.Err()
}

// cancelStep is how many tasks that were touched, or pages of 256 others, the request to cancel itself ends. The leader
// goes on with the rest, as fast as the disk allows.
const cancelStep = 1024

// CancelJob implements the job service.
func (s *Server) CancelJob(ctx context.Context, r *rotav1.CancelJobRequest) (*rotav1.CancelJobResponse, error) {
	return atLeader(ctx, s, r,
		func(ctx context.Context, r *rotav1.CancelJobRequest) (*rotav1.CancelJobResponse, error) {
			op := &logpb.Cancel{Job: r.GetJobId(), Index: r.TaskIndex, Reason: uint32(task.ReasonUser), Step: cancelStep}
			res, err := s.node.Propose(ctx, &logpb.Op{Op: &logpb.Op_Cancel{Cancel: op}})
			if err != nil {
				return nil, err
			}
			return &rotav1.CancelJobResponse{Cancelled: res.Cancelled, Stopping: res.Stopping, AppliedIndex: res.Index}, nil
		},
		func(c grpc.ClientConnInterface, ctx context.Context, r *rotav1.CancelJobRequest) (*rotav1.CancelJobResponse, error) {
			return rotav1.NewJobServiceClient(c).CancelJob(ctx, r)
		})
}
