package hostile

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// unreadConnections is how many connections there are. Each opens unreadCalls calls and reads no answer.
	unreadConnections, unreadCalls = 12, 1000
	// unreadPeak is how much memory a server takes for all of this at most, KiB: far below its limit.
	unreadPeak = 600 << 10
)

// stale is the options of a read that any server answers at once.
var stale = &rotav1.ReadOptions{Stale: true, MinIndex: 1}

// openUnread opens calls to the leader over many connections at once, and reads no answer. It replaces a
// connection that the server has ended.
func (h *harness) openUnread(method string, request any) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	h.t.Cleanup(cancel)
	leader := h.Leader()
	var all sync.WaitGroup
	for range unreadConnections {
		conn := h.Dial(leader)
		all.Go(func() {
			for range unreadCalls {
				stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method, grpc.MaxCallRecvMsgSize(wire.MaxMessage))
				if err != nil || stream.SendMsg(request) != nil {
					continue // it was cut off
				}
				_ = stream.CloseSend()
			}
		})
	}
	all.Wait()
}

// boundedPeak requires that no server has taken much memory.
func (h *harness) boundedPeak() {
	h.t.Helper()
	for i, p := range h.cluster.Servers {
		kib, err := strconv.Atoi(strings.TrimSuffix(h.peak(i), " kB"))
		require.NoError(h.t, err)
		require.Less(h.t, kib, unreadPeak, "%s has had so many KiB in memory", p.Name)
	}
}

// largeJobs submits jobs with the largest payloads, no two of which are the same.
func (h *harness) largeJobs(jobs int) (last *client.Job) {
	h.t.Helper()
	cl := h.Client()
	ctx, cancel := context.WithTimeout(h.t.Context(), 3*within)
	defer cancel()
	spec := task.Spec{Handler: "rota.noop", SharedPayload: make([]byte, task.MaxPayload)}
	for i := range jobs {
		copy(spec.SharedPayload, strconv.Itoa(i))
		var err error
		last, err = cl.Submit(ctx, client.Request{Spec: spec, Count: 1})
		require.NoError(h.t, err)
	}
	return last
}

// Answers for connections that had just ended once stayed in memory beside those for the next connections, and the
// calls themselves stayed too.
func TestLargeJobsThatAreNotReadAreBounded(t *testing.T) {
	t.Parallel()
	h := start(t)
	job := h.largeJobs(20)
	for range 2 {
		h.openUnread(rotav1.JobService_GetJob_FullMethodName, &rotav1.GetJobRequest{JobId: job.ID(), Read: stale})
		h.Served(5)
	}
	h.verify()
	h.boundedPeak()
}

func TestResultsThatAreNotReadAreBounded(t *testing.T) {
	t.Parallel()
	h := start(t)
	const results, size = 200, 200 << 10
	var payloads [][]byte
	for i := range results {
		payload := make([]byte, size)
		copy(payload, strconv.Itoa(i))
		payloads = append(payloads, payload)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*within)
	defer cancel()
	job, err := h.Client().Submit(ctx, client.Request{Spec: task.Spec{Handler: "rota.echo"}, Payloads: client.Payloads(payloads...)})
	require.NoError(t, err)
	_, err = job.Wait(ctx)
	require.NoError(t, err)
	for range 2 {
		h.openUnread(rotav1.JobService_StreamResults_FullMethodName, &rotav1.StreamResultsRequest{JobId: job.ID(), Read: stale})
		h.Served(5)
	}
	h.verify()
	h.boundedPeak()
}

// Thousands of lists that searched all jobs at once once left a server no time: it lost its leadership, and
// cluster verify waited for minutes.
func TestListsThatLookThroughAllLeaveTimeForOthers(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.largeJobs(400)
	h.openUnread(rotav1.JobService_ListJobs_FullMethodName, &rotav1.ListJobsRequest{Name: "nobody's", Read: stale})
	h.Served(5)
	h.verify()
	h.boundedPeak()
}
