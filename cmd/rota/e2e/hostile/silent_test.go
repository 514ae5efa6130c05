package hostile

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// beats makes a worker send beats until its stream ends. They say that nothing runs.
func (l *line) beats() {
	go func() {
		for seq := uint64(1); l.say(&rotav1.Beat{Seq: seq}) == nil; seq++ {
			select {
			case <-l.Context().Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
}

// ended reads what the server sends to a worker, until the stream ends.
func (l *line) ended() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := l.Recv(); err != nil {
				return
			}
		}
	}()
	return ended
}

// A worker that sends beats and never reports once kept its tasks for ever, whatever their timeout and
// whoever cancelled them.
func TestAWorkerThatBeatsAndNeverReportsKeepsNothing(t *testing.T) {
	t.Parallel()
	h := start(t)
	cl := h.Client()
	silent := h.attach(helloOf())
	silent.beats()
	timed, err := cl.Submit(t.Context(), client.Request{Spec: task.Spec{Handler: "hostile", Timeout: time.Second, MaxAttempts: 1}, Count: 1})
	require.NoError(t, err)
	silent.given()
	endless, err := cl.Submit(t.Context(), client.Request{Spec: task.Spec{Handler: "hostile"}, Count: 1})
	require.NoError(t, err)
	silent.given()
	silent.ended()
	_, err = endless.Cancel(t.Context())
	require.NoError(t, err)

	r := h.only(timed)
	require.Equal(t, task.Failed, r.State)
	require.Equal(t, task.ReasonTimeout, r.Reason)
	require.Contains(t, r.Error, "did not report it within its timeout")
	r = h.only(endless)
	require.Equal(t, task.Cancelled, r.State)
	require.Equal(t, task.ReasonUser, r.Reason)
	require.Contains(t, r.Error, "asked to stop")
}

// only waits for the result of a job's only task.
func (h *harness) only(job *client.Job) client.Result {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), within)
	defer cancel()
	for r, err := range job.Results(ctx) {
		require.NoError(h.t, err)
		return r
	}
	h.t.Fatal("a job without a result")
	panic("unreachable")
}

// The leader never takes an exclusive task from a worker that may run it: it lets the worker's lease end.
func TestAWorkerThatIsSilentAboutAnExclusiveTaskLosesItsLease(t *testing.T) {
	t.Parallel()
	h := start(t, "--lease-timeout", "10s")
	cl := h.Client()
	silent := h.attach(helloOf())
	silent.beats()
	job, err := cl.Submit(t.Context(), client.Request{Spec: task.Spec{Handler: "hostile", Serial: true, Timeout: time.Second}, Count: 1})
	require.NoError(t, err)
	first := silent.given()
	ended := silent.ended()
	h.Await("the stream ends", func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
	other := h.attach(helloOf())
	other.beats()
	again := other.given()
	require.Equal(t, job.ID(), again.GetJobId())
	require.NotEqual(t, first.GetTokenOffset(), again.GetTokenOffset())
	require.NoError(t, other.say(&rotav1.Reports{Seq: 1, Groups: []*rotav1.ReportGroup{reportOf(job.ID(), again.GetTokenOffset(), tasks(0, 1))}}))
	require.Empty(t, other.answered().GetExceptions())
}
