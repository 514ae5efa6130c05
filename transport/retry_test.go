package transport_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/worker"
)

// A retry is a new job of the tasks that did not succeed; each keeps what it stood for.
func TestRetryRunsWhatDidNotSucceed(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	var healed atomic.Bool
	c.Worker(worker.Config{Name: "w", Slots: 4, Handlers: map[string]worker.Handler{
		"odd-fails": func(_ context.Context, tk *worker.Task) ([]byte, error) {
			if tk.Value%2 == 1 && !healed.Load() {
				return nil, worker.Permanent(errors.New("odd"))
			}
			return []byte(strconv.Itoa(int(tk.Value)) + string(tk.Payload)), nil
		},
	}})
	cl := c.Client()
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	outputs := func(j *client.Job) (out []string) {
		for r, err := range j.Results(ctx) {
			require.NoError(t, err)
			out = append(out, string(r.Output)+r.Error)
		}
		return out
	}
	plain, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "odd-fails"}, Count: 6})
	require.NoError(t, err)
	require.Equal(t, []string{"0", "odd", "2", "odd", "4", "odd"}, outputs(plain))
	array, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "odd-fails", Values: []task.ValueRun{{First: 5, Step: 5, Count: 4}}}, Count: 4})
	require.NoError(t, err)
	require.Equal(t, []string{"odd", "10", "odd", "20"}, outputs(array))
	own, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "odd-fails"}, Payloads: client.Strings("a", "b", "c", "d")})
	require.NoError(t, err)
	require.Equal(t, []string{"0a", "odd", "2c", "odd"}, outputs(own))
	healed.Store(true)
	for _, k := range []struct {
		job  *client.Job
		want []string
	}{{plain, []string{"1", "3", "5"}}, {array, []string{"5", "15"}}, {own, []string{"1b", "3d"}}} {
		again, err := cl.Retry(ctx, k.job.ID(), client.RetryOptions{})
		require.NoError(t, err)
		require.NotEqual(t, k.job.ID(), again.ID())
		require.Equal(t, k.want, outputs(again))
		info, err := again.Info(ctx)
		require.NoError(t, err)
		require.Equal(t, k.job.ID(), info.RetryOf)
		_, err = cl.Retry(ctx, again.ID(), client.RetryOptions{})
		require.ErrorIs(t, err, task.ErrConflict, "nothing failed")
	}
}

// A retry of more payloads than a request may have is copied by several requests, nothing of it runs before all
// are there, and a request that is sent again, also long after, makes nothing twice.
func TestARetryOfManyPayloadsIsCopiedByManyRequests(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	const tasks = 40 // of the largest payloads: a request copies 32
	var ran atomic.Int64
	c.Worker(worker.Config{Name: "w", Slots: 4, Handlers: map[string]worker.Handler{
		"fails": func(_ context.Context, tk *worker.Task) ([]byte, error) {
			if tk.Index%2 == 1 {
				return nil, nil
			}
			ran.Add(1)
			return nil, worker.Permanent(errors.New("no luck"))
		},
	}})
	cl := c.Client()
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	payload := func(i uint32) []byte {
		return binary.BigEndian.AppendUint32(bytes.Repeat([]byte{byte(i)}, task.MaxPayload-4), i)
	}
	job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "fails"}, Payloads: func(yield func([]byte) bool) {
		for i := range uint32(2 * tasks) {
			if i%2 == 1 && !yield(nil) || i%2 == 0 && !yield(payload(i)) {
				return
			}
		}
	}})
	require.NoError(t, err)
	info, err := job.Wait(ctx)
	require.NoError(t, err)
	require.EqualValues(t, tasks, info.Counts[task.Failed])
	ran.Store(0)
	conn, err := wire.Dial(c.Servers[0].Addr)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	jobs := rotav1.NewJobServiceClient(conn)
	_, err = jobs.RetryJob(ctx, &rotav1.RetryJobRequest{JobId: job.ID()})
	require.ErrorContains(t, err, "needs a request key")
	request := &rotav1.RetryJobRequest{JobId: job.ID(), RequestKey: "k"}
	part, err := jobs.RetryJob(ctx, request)
	require.NoError(t, err)
	require.True(t, part.GetUnfinished())
	require.False(t, part.GetExisted())
	made, err := jobs.GetJob(ctx, &rotav1.GetJobRequest{JobId: part.GetJobId()})
	require.NoError(t, err)
	require.True(t, made.GetJob().GetOpen())
	require.Less(t, made.GetJob().GetTasks().GetTotal(), uint32(tasks))
	require.Zero(t, ran.Load(), "it is held")
	for request, known := range map[*rotav1.RetryJobRequest]bool{
		request: true,
		{JobId: job.ID(), RequestKey: "k", All: true}: false,
		{JobId: job.ID(), RequestKey: "other"}:        false,
		{JobId: job.ID()}:                             false,
		{JobId: part.GetJobId(), RequestKey: "k"}:     false,
	} {
		chosen, err := transport.ChosenBefore(c.Servers[0].Node, request)
		require.NoError(t, err)
		require.Equal(t, known, len(chosen) == tasks, "all results are read once, and not for each request: %v", request)
	}
	again, err := cl.Retry(ctx, job.ID(), client.RetryOptions{Key: "k"})
	require.NoError(t, err)
	require.Equal(t, part.GetJobId(), again.ID())
	info, err = again.Wait(ctx)
	require.NoError(t, err)
	require.EqualValues(t, tasks, info.Counts.Final())
	require.Equal(t, job.ID(), info.RetryOf)
	for i := range uint32(tasks) {
		got, err := c.Servers[0].Node.State().Payloads(again.ID(), i, 1)
		require.NoError(t, err)
		one, _, ok := task.PackNext(got)
		require.True(t, ok)
		require.Equal(t, payload(2*i), one, "task %d", i)
	}
	late, err := jobs.RetryJob(ctx, request)
	require.NoError(t, err)
	require.True(t, late.GetExisted())
	require.False(t, late.GetUnfinished())
	require.Equal(t, again.ID(), late.GetJobId())
}

// Only a leader knows which workers there are.
func TestAServerThatLostTheLeadDoesNotSayThatNobodyCanRunAJob(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	job, err := c.Client().Submit(ctx, client.Request{Spec: task.Spec{Handler: "nobody-has-it"}, Count: 1})
	require.NoError(t, err)
	n := c.Servers[0].Node
	require.NotEmpty(t, transport.Missing(n, job.ID()))
	n.Fleet().End()
	require.Empty(t, transport.Missing(n, job.ID()))
}
