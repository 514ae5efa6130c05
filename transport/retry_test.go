package transport_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/task"
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
