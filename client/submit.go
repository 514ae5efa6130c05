package client

import (
	"context"
	"crypto/rand"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// chunkBytes is how many bytes of packed payloads go into one request: a log
	// entry of 1 MiB takes 10 to 20 times as long to write as one of 256 KiB, and
	// this leaves room in the latter for the spec and for what else is under way.
	// Where a job is cut is part of what makes an interrupted submit resumable:
	// with another value, appends to jobs that are half submitted are conflicts.
	chunkBytes = 192 << 10
	// minChunkBytes is what the first request holds beside a very large spec.
	minChunkBytes = 16 << 10
	// cleanupTimeout is how long the client tries to cancel a job that is useless.
	cleanupTimeout = 5 * time.Second
)

// renewEvery is how long a growing job may have no request before the client tells the servers that
// more is to come.
const renewEvery = task.OpenTimeout / 5

// errNoTasks is the error of a request whose payloads are none. Map tells it apart.
var errNoTasks error = task.Errorf(task.KindInvalid, "the job has no tasks: there are no payloads")

// Request is a job to submit. Only Spec is needed: alone, it makes one task.
type Request struct {
	// Spec is the work and its options; what is left out is filled in by the servers.
	Spec task.Spec
	// Count is the number of tasks, all with Spec.SharedPayload; 0 is 1.
	Count int
	// Payloads makes a task for each payload, in order; not together with Count. It
	// is read while the job is submitted, so a job need not fit into memory. Another goroutine reads it;
	// where Submit fails it does not wait for that one, which may read one more.
	Payloads iter.Seq[[]byte]
	// Key is the request key: submits with the same key in the same queue, also of
	// other processes, make one job. Empty: a random one is made, so that Submit
	// can try again when an answer is lost. Keys that grow, as with a time in front,
	// cost the servers less than keys without an order.
	Key string
	// NoKey: send none. A lost answer is then an error, task.ErrUnknownOutcome.
	NoKey bool
	// Hold: a job that needs several requests starts only when it is complete.
	Hold bool
	// Linger is how long a payload waits at most for others before they are sent, for payloads
	// that arrive slowly. 0: a request goes out when it is full, or when there are no more
	// payloads.
	Linger time.Duration
	// Explain asks for what the tasks wait for; see Job.Missing and Job.StartsAt.
	Explain bool
	// Begun is called once, as soon as the job has an id: with Payloads, while they are still read.
	Begun func(*Job)
}

// Payloads returns payloads one by one, for Request and Map.
func Payloads(p ...[]byte) iter.Seq[[]byte] { return slices.Values(p) }

// Strings returns strings one by one as payloads, for Request and Map.
func Strings(s ...string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, s := range s {
			if !yield([]byte(s)) {
				return
			}
		}
	}
}

// Submit makes a job. When it returns without an error, the job is on the disks of
// a majority of the servers and cannot be lost while a majority survives.
//
// A large job takes several requests. When one of them fails, the job is returned
// beside the error: it has the tasks so far. The same request with the same Key
// completes it; otherwise it should be cancelled, or the servers do so after
// task.OpenTimeout. If the request itself is at fault, it has been cancelled.
func (c *Client) Submit(ctx context.Context, r Request) (*Job, error) {
	key, err := requestKey(r.Key, r.NoKey)
	if err != nil {
		return nil, err
	}
	if err := checkSpec(r.Spec); err != nil {
		return nil, err
	}
	s := &submit{
		c: c, ctx: ctx, hold: r.Hold, linger: r.Linger, begun: r.Begun,
		// If the payloads of a job arrive slowly, the clock decides where it is cut. Another process can
		// complete it nevertheless, because its first request has no payloads.
		resumable: r.Linger > 0 && r.Key != "",
		req:       &rotav1.SubmitRequest{Spec: wire.SpecToProto(&r.Spec), RequestKey: key, Explain: r.Explain},
	}
	if r.Payloads != nil {
		if r.Count != 0 {
			return nil, task.Errorf(task.KindInvalid, "a count of tasks and payloads contradict each other: give one of them")
		}
		return s.all(r.Payloads)
	}
	if r.Count < 0 || r.Count > task.MaxTasks {
		return nil, task.Errorf(task.KindTooLarge, "%d tasks are out of range: use 1 to %d", r.Count, task.MaxTasks)
	}
	return s.job, s.first(&rotav1.TaskSet{Count: uint32(max(1, r.Count))}, false)
}

// submit is one job on its way to the servers.
type submit struct {
	c         *Client
	ctx       context.Context
	req       *rotav1.SubmitRequest
	hold      bool
	linger    time.Duration
	begun     func(*Job)
	resumable bool

	job *Job
	// over tells that the job has ended, though its tasks are still to come.
	over chan struct{}
	// sent is the number of tasks that are with the servers or on their way.
	sent uint32
	// appends is the chunks on their way, oldest first.
	appends []*chunk
}

// all submits a task for each payload.
func (s *submit) all(payloads iter.Seq[[]byte]) (*Job, error) {
	outer := s.ctx
	ctx, cancel := context.WithCancel(outer)
	s.ctx, s.over = ctx, make(chan struct{}, 1)
	defer s.waitAppends()
	defer cancel()
	cuts, err := s.begin()
	if err != nil {
		return s.job, err
	}
	want, err := cuts.next(ctx)
	if err != nil {
		return s.job, err
	}
	in := newIntake(ctx, payloads, s.over, s.linger, max(chunkBytes-proto.Size(s.req.GetSpec()), minChunkBytes), want)
	if err := s.send(in, cuts); err != nil {
		if in.bad() {
			cancel()
			return s.job, s.abandon(outer, err)
		}
		return s.job, err
	}
	return s.job, nil
}

// begin makes the job if another process may complete it, and finds out where a process that began
// it before has cut it.
func (s *submit) begin() (*cuts, error) {
	if !s.resumable {
		return nil, nil
	}
	if err := s.first(nil, true); err != nil || !s.job.existed {
		return nil, err
	}
	return &cuts{job: s.job}, nil
}

// send sends batches until there are no more, and completes the job.
func (s *submit) send(in *intake, cuts *cuts) error {
	then, err := cuts.next(s.ctx)
	for {
		if err != nil {
			return err
		}
		var b batch
		var last bool
		b, last, err = in.next(renewEvery, then)
		switch {
		case err != nil:
			return err
		case s.job == nil && last && b.count == 0:
			return errNoTasks
		case s.job == nil && last:
			return s.first(b.tasks(), false)
		case s.job == nil && b.count > 0:
			err = s.first(b.tasks(), true)
		case b.count > 0:
			err = s.append(b.tasks())
		case !last && s.job != nil:
			err = s.renew()
		}
		if err != nil {
			return err
		}
		s.sent += b.count
		if last {
			return s.close()
		}
		if b.count > 0 {
			then, err = cuts.next(s.ctx)
		}
	}
}

// first submits the job, with its first or only tasks.
func (s *submit) first(tasks *rotav1.TaskSet, open bool) error {
	s.req.Tasks, s.req.Open, s.req.Hold = tasks, open, open && s.hold
	op := call{op: "submit a job", mutation: true, safe: s.req.GetRequestKey() != ""}
	resp, err := do(s.ctx, s.c, op, func(ctx context.Context, to *server) (*rotav1.SubmitResponse, error) {
		resp, _, err := to.submits.submit(ctx, s.req, false)
		return resp, err
	})
	if err != nil {
		return err
	}
	s.job = &Job{c: s.c, id: resp.GetJobId(), existed: resp.GetExisted(), index: resp.GetAppliedIndex(), over: s.over}
	s.job.missing, s.job.startsAt = resp.GetMissing(), moment(resp.GetStartsAt())
	if s.begun != nil {
		s.begun(s.job)
	}
	return nil
}

// close completes the job, once all its tasks are with the servers.
func (s *submit) close() error {
	if err := s.settle(0); err != nil {
		return err
	}
	req := &rotav1.CloseTasksRequest{JobId: s.job.id, Total: s.sent}
	op := call{op: s.job.op("complete"), mutation: true, safe: true}
	_, err := do(s.ctx, s.c, op, func(ctx context.Context, to *server) (*rotav1.CloseTasksResponse, error) {
		return to.jobs.CloseTasks(ctx, req)
	})
	return err
}

// abandon cancels the job, if it was made, because it can never be complete.
func (s *submit) abandon(ctx context.Context, err error) error {
	s.waitAppends()
	if s.job != nil {
		s.job.cleanup(ctx)
	}
	return err
}

// cleanup cancels a job that is useless, even when ctx has ended. It only logs a
// failure: its caller has a better error to return.
func (j *Job) cleanup(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if _, err := j.Cancel(ctx); err != nil {
		j.c.log.Warn("a job that is of no use could not be cancelled", "job", j.id, "error", err)
	}
}

// requestKey returns the key to send, a random one if none is given.
func requestKey(key string, none bool) (string, error) {
	switch {
	case none && key != "":
		return "", task.Errorf(task.KindInvalid, "a request key and none at all contradict each other: give one of them")
	case none:
		return "", nil
	case key == "":
		return randomKey(), nil
	case !utf8.ValidString(key):
		return "", task.Errorf(task.KindInvalid, "the request key is not UTF-8")
	}
	return key, task.ValidKey(key)
}

// randomChars is how many characters of a random key are random, 5 bits each.
const randomChars = 16

// randomKey returns a request key that nobody else makes. It begins with the time: keys that
// grow lie side by side in state.db, and the servers write a page for many of them instead of
// a page for each (fsm/store: BenchmarkFlush).
func randomKey() string {
	return "auto-" + strconv.FormatInt(time.Now().UnixMilli(), 36) + rand.Text()[:randomChars]
}

// checkSpec finds what the servers would refuse, and what cannot be sent to them at all, without
// a round trip.
func checkSpec(spec task.Spec) error {
	spec.SetDefaults()
	// Pairs travel as maps: their order does not matter, but a key given twice does.
	for _, pairs := range []*[]task.Pair{&spec.Env, &spec.Require, &spec.Meta} {
		*pairs = slices.SortedFunc(slices.Values(*pairs), func(a, b task.Pair) int { return strings.Compare(a.Key, b.Key) })
	}
	if err := spec.Validate(); err != nil {
		return err
	}
	texts := append([]string{spec.Cwd, spec.Placeholder}, spec.Command...)
	for _, pairs := range [][]task.Pair{spec.Env, spec.Require, spec.Meta} {
		for _, p := range pairs {
			texts = append(texts, p.Key, p.Value)
		}
	}
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return task.Errorf(task.KindInvalid, "%q is not UTF-8; pass binary data as payload", text)
		}
	}
	return nil
}
