package transport_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/worker"
)

// listedMost is how large a page of a list may be, bytes: far below the limit of a message, so
// that any record fits behind what is there.
const listedMost = 2 << 20

// pairs is a map as large as a spec or a worker may have one.
func pairs() (out []task.Pair) {
	for i := range task.MaxPairs {
		key := fmt.Sprintf("key-%03d", i)
		out = append(out, task.Pair{Key: key, Value: strings.Repeat("v", task.MaxPairBytes/task.MaxPairs-len(key))})
	}
	return out
}

// largestSpec is a valid spec that is as large as it can be.
func largestSpec() task.Spec {
	s := task.Spec{
		Name: strings.Repeat("n", task.MaxName), Queue: strings.Repeat("q", task.MaxName), Command: []string{"c", strings.Repeat("a", task.MaxArgBytes-1)},
		Env: pairs(), Require: pairs(), Meta: pairs(), SharedPayload: make([]byte, task.MaxPayload),
	}
	for i := range uint32(task.MaxValueRuns) {
		s.Values = append(s.Values, task.ValueRun{First: 1<<31 + i, Step: 1 << 20, Count: 2})
	}
	return s
}

func dialFirst(t *testing.T, c *testcluster.Cluster) *grpc.ClientConn {
	t.Helper()
	conn, err := wire.Dial(c.Addrs()[0])
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

func TestAListOfTheLargestJobsFitsItsMessages(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	cl, jobs := c.Client(), rotav1.NewJobServiceClient(dialFirst(t, c))
	ctx, cancel := context.WithTimeout(context.Background(), 4*testcluster.Wait)
	defer cancel()
	const count = 45 // 10 MB
	spec := largestSpec()
	for i := range count {
		spec.SharedPayload[0] = byte(i)
		_, err := cl.Submit(ctx, client.Request{Spec: spec, Count: 2 * task.MaxValueRuns})
		require.NoError(t, err)
	}
	seen := uint64(count + 1)
	for info, err := range cl.List(ctx, client.ListOptions{}) {
		require.NoError(t, err)
		seen--
		require.Equal(t, seen, info.ID)
		require.Equal(t, spec.Env, info.Spec.Env)
		require.Empty(t, info.Spec.SharedPayload)
	}
	require.EqualValues(t, 1, seen, "all are listed, newest first")
	for _, size := range []uint32{0, 1, 7, 1000} {
		page, err := jobs.ListJobs(ctx, &rotav1.ListJobsRequest{PageSize: size})
		require.NoError(t, err)
		require.Less(t, proto.Size(page), listedMost)
		require.NotEmpty(t, page.GetJobs())
		require.NotEmpty(t, page.GetNextPageToken())
	}
	// Nothing matches: the list ends all the same.
	for _, err := range cl.List(ctx, client.ListOptions{Name: "another"}) {
		require.Fail(t, "a job that does not match is listed", "%v", err)
	}
}

// A page of a filtered list reads a bounded number of bytes of jobs that do not match. It may then be empty, and says
// where to continue.
func TestAPageReadsSoManyBytes(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	cl, jobs := c.Client(), rotav1.NewJobServiceClient(dialFirst(t, c))
	ctx, cancel := context.WithTimeout(context.Background(), 8*testcluster.Wait)
	defer cancel()
	const count = 320 // 80 MiB
	wanted, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Name: "wanted", Handler: "h"}, Count: 1})
	require.NoError(t, err)
	spec := task.Spec{Name: "other", Handler: "h", SharedPayload: make([]byte, task.MaxPayload)}
	for i := range count {
		binary.BigEndian.PutUint32(spec.SharedPayload, uint32(i))
		_, err := cl.Submit(ctx, client.Request{Spec: spec, Count: 1})
		require.NoError(t, err)
	}
	resp, err := jobs.ListJobs(ctx, &rotav1.ListJobsRequest{Name: "wanted"})
	require.NoError(t, err)
	require.Empty(t, resp.GetJobs())
	require.NotEmpty(t, resp.GetNextPageToken())
	var found []uint64
	for info, err := range cl.List(ctx, client.ListOptions{Name: "wanted"}) {
		require.NoError(t, err)
		found = append(found, info.ID)
	}
	require.Equal(t, []uint64{wanted.ID()}, found)
}

// TestAListHasEachJobOnce while jobs are submitted, end and leave memory.
func TestAListHasEachJobOnce(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	c.Worker(worker.Config{Name: "w", Slots: 8, Handlers: map[string]worker.Handler{"square": square}})
	cl := c.Client()
	ctx, cancel := context.WithTimeout(context.Background(), 4*testcluster.Wait)
	defer cancel()
	const total = 400
	submitted := make(chan uint64, total)
	go func() {
		defer close(submitted)
		for range total {
			job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "square"}, Payloads: client.Strings("3")})
			if err != nil {
				t.Errorf("submit: %v", err)
				return
			}
			submitted <- job.ID()
		}
	}()
	last := uint64(0)
	for running := true; running; {
		for drained := false; !drained; {
			select {
			case id, ok := <-submitted:
				if running = ok; !ok {
					drained = true
				} else {
					last = id
				}
			default:
				drained = true
			}
		}
		missing := last
		previous := uint64(1 << 62)
		for info, err := range cl.List(ctx, client.ListOptions{PageSize: 7}) {
			require.NoError(t, err)
			require.Less(t, info.ID, previous)
			if previous = info.ID; info.ID <= last {
				require.Equal(t, missing, info.ID)
				missing--
			}
		}
		require.Zero(t, missing)
	}
	require.EqualValues(t, total, last)
}

// TestResultsWithLongErrorsFitTheirMessages: errors that differ make a group each.
func TestResultsWithLongErrorsFitTheirMessages(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	c.Worker(worker.Config{Name: "w", Slots: 64, Handlers: map[string]worker.Handler{
		"fails": func(_ context.Context, tk *worker.Task) ([]byte, error) {
			return nil, worker.Permanent(errors.New(strings.Repeat("e", task.MaxError-16) + fmt.Sprintf(" %08d", tk.Index)))
		},
	}})
	cl := c.Client()
	ctx, cancel := context.WithTimeout(context.Background(), 4*testcluster.Wait)
	defer cancel()
	const count = 4000
	job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "fails", MaxAttempts: 1}, Count: count})
	require.NoError(t, err)
	_, err = job.Wait(ctx)
	require.NoError(t, err)
	jobs := rotav1.NewJobServiceClient(dialFirst(t, c))
	for _, order := range []rotav1.ResultOrder{rotav1.ResultOrder_RESULT_ORDER_COMPLETED, rotav1.ResultOrder_RESULT_ORDER_INDEX} {
		stream, err := jobs.StreamResults(ctx, &rotav1.StreamResultsRequest{JobId: job.ID(), Order: order})
		require.NoError(t, err)
		got := 0
		for {
			m, err := stream.Recv()
			require.NoError(t, err, "%v", order)
			require.Less(t, proto.Size(m), listedMost)
			for _, g := range m.GetGroups() {
				for _, r := range g.GetRanges() {
					got += int(r.GetCount())
				}
			}
			if m.GetComplete() {
				break
			}
		}
		require.Equal(t, count, got, "%v", order)
	}
}

// largestHello is a hello that says as much as it may.
func largestHello(id string) *rotav1.Hello {
	h := &rotav1.Hello{WorkerId: id, Name: strings.Repeat("n", task.MaxName), BootNonce: []byte(id), Slots: task.MaxSlots, Version: strings.Repeat("v", task.MaxName), Labels: map[string]string{}}
	for _, p := range pairs() {
		h.Labels[p.Key] = p.Value
	}
	for i := range task.MaxQueues {
		h.Queues = append(h.Queues, fmt.Sprintf("%0*d", task.MaxOffered/task.MaxQueues, i))
	}
	return h
}

// hello opens a session by hand, and leaves its stream open.
func hello(ctx context.Context, conn *grpc.ClientConn, h *rotav1.Hello) error {
	stream, err := rotav1.NewWorkerServiceClient(conn).Session(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: h}}); err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}

// TestAListOfWorkersIsPaged: no worker is missing or twice on it, though each opens another
// session meanwhile.
func TestAListOfWorkersIsPaged(t *testing.T) {
	t.Parallel()
	// These workers do not beat: within a lease all of them must have come and be listed.
	c := testcluster.Start(t, 1, func(cfg *node.Config) { cfg.LeaseTimeout = 10 * testcluster.Wait })
	conn := dialFirst(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), 4*testcluster.Wait)
	defer cancel()
	const count = 100
	opened := func(i int) *rotav1.Hello { return largestHello(fmt.Sprintf("w%03d", i)) }
	for i := range count {
		require.NoError(t, hello(ctx, conn, opened(i)))
	}
	all, err := c.Client().Workers(ctx, client.WorkersOptions{})
	require.NoError(t, err)
	require.Equal(t, count, len(all)) // not Len, which shows all of them
	named, err := c.Client().Workers(ctx, client.WorkersOptions{Worker: "w007"})
	require.NoError(t, err)
	require.Len(t, named, 1)
	require.Len(t, named[0].Queues, task.MaxQueues)

	workers := rotav1.NewWorkerServiceClient(conn)
	next := 0
	for req := (&rotav1.ListWorkersRequest{PageSize: 1000}); ; {
		page, err := workers.ListWorkers(ctx, req)
		require.NoError(t, err)
		require.Less(t, proto.Size(page), listedMost)
		for _, w := range page.GetWorkers() {
			require.Equal(t, fmt.Sprintf("w%03d", next), w.GetId())
			again := opened(next)
			again.BootNonce, again.Replaces, again.ReplacesNonce = []byte("another"), w.GetSessionId(), []byte(w.GetId())
			require.NoError(t, hello(ctx, conn, again))
			next++
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	require.Equal(t, count, next)
	_, err = workers.ListWorkers(ctx, &rotav1.ListWorkersRequest{PageToken: "?"})
	require.ErrorIs(t, wire.FromStatus(err), task.ErrInvalid)
}

func TestAHelloThatOffersTooMuchIsRefused(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	conn := dialFirst(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	for name, edit := range map[string]func(h *rotav1.Hello){
		"queues":   func(h *rotav1.Hello) { h.Queues = append(h.Queues, "q") },
		"handlers": func(h *rotav1.Hello) { h.Queues, h.Handlers = nil, append(h.Queues, "h") },
		"bytes":    func(h *rotav1.Hello) { h.Handlers = []string{"h"} },
		"labels":   func(h *rotav1.Hello) { h.Labels["another"] = "" },
	} {
		h := largestHello("w")
		edit(h)
		require.ErrorIs(t, wire.FromStatus(hello(ctx, conn, h)), task.ErrTooLarge, name)
	}
}

func TestARequestThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	jobs := rotav1.NewJobServiceClient(dialFirst(t, c))
	submit := func(bytes int) error {
		r := &rotav1.SubmitRequest{Spec: handlerSpec(), Tasks: &rotav1.TaskSet{}}
		for bytes > 0 {
			n := min(bytes, task.MaxPayload)
			r.Tasks.PackedPayloads = task.PackAppend(r.Tasks.PackedPayloads, make([]byte, n))
			r.Tasks.Count++
			bytes -= n
		}
		_, err := jobs.Submit(t.Context(), r)
		return wire.FromStatus(err)
	}
	require.NoError(t, submit(task.MaxRequest-1<<10))
	for _, size := range []int{task.MaxRequest, task.MaxRequest + 32<<10, 8_250_000} {
		require.ErrorIs(t, submit(size), task.ErrTooLarge, "%d bytes", size)
	}
}

// A list compares each of thousands of jobs with all states that are asked for.
func TestAListOfFarTooManyStatesIsRefused(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	jobs := rotav1.NewJobServiceClient(dialFirst(t, c))
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	_, err := jobs.ListJobs(ctx, &rotav1.ListJobsRequest{States: make([]rotav1.JobState, 500_000)})
	require.ErrorIs(t, wire.FromStatus(err), task.ErrInvalid)
	_, err = jobs.ListJobs(ctx, &rotav1.ListJobsRequest{States: []rotav1.JobState{1, 2, 3, 4, 5}})
	require.NoError(t, err)
}
