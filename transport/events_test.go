package transport_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// eventsAt is the event service of each server of a cluster.
func eventsAt(t *testing.T, c *testcluster.Cluster) (services []rotav1.EventServiceClient) {
	t.Helper()
	for _, addr := range c.Addrs() {
		services = append(services, rotav1.NewEventServiceClient(dialed(t, addr)))
	}
	return services
}

func dialed(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := wire.Dial(addr)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

// told returns the events that a server tells, in text.
func told(ctx context.Context, t *testing.T, s rotav1.EventServiceClient, r *rotav1.WatchRequest) (events []string, cursors [][]byte) {
	t.Helper()
	stream, err := s.Watch(ctx, r)
	require.NoError(t, err)
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return events, cursors
		}
		require.NoError(t, err)
		require.NotEmpty(t, m.GetCursor())
		for _, e := range m.GetEvents() {
			events, cursors = append(events, prototext.Format(e)), append(cursors, e.GetCursor())
		}
	}
}

const allEvents = 1 << 20

// Whoever follows one server may go on at any other one, from any event.
func TestEventsResumeAnywhereFromACursor(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	cl, services := c.Client(), eventsAt(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Wait)
	defer cancel()
	const jobs = 20
	for range jobs {
		job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "nobody's", Name: "n"}, Payloads: client.Strings("x")})
		require.NoError(t, err)
		_, err = job.Cancel(ctx)
		require.NoError(t, err)
	}
	everything := &rotav1.WatchRequest{Newest: allEvents}
	want, cursors := told(ctx, t, services[c.Leader()], everything)
	require.GreaterOrEqual(t, len(want), 3*jobs)
	for i, s := range services {
		c.Eventually(func() bool { got, _ := told(ctx, t, s, everything); return len(got) >= len(want) }, "the events of all entries")
		got, _ := told(ctx, t, s, everything)
		require.Equal(t, want, got[:len(want)], "server %d", i)
		for k := 0; k < len(want); k += 7 {
			rest, _ := told(ctx, t, s, &rotav1.WatchRequest{Cursor: cursors[k]})
			require.Equal(t, want[k+1:], rest[:len(want)-k-1], "server %d, from event %d", i, k)
		}
	}
	few, _ := told(ctx, t, services[0], &rotav1.WatchRequest{Newest: allEvents, Kinds: []rotav1.EventKind{rotav1.EventKind_EVENT_KIND_JOB_ENDED}, JobId: 3})
	require.Len(t, few, 1)
	none, _ := told(ctx, t, services[0], &rotav1.WatchRequest{Newest: allEvents, Queue: "other", Kinds: []rotav1.EventKind{rotav1.EventKind_EVENT_KIND_JOB_ENDED}})
	require.Empty(t, none)
}

// The place that a cursor names may be there in any cluster.
func TestACursorOfEventsOfAnotherClusterIsRefused(t *testing.T) {
	t.Parallel()
	one, other := testcluster.Start(t, 1, nil), testcluster.Start(t, 1, nil)
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Wait)
	defer cancel()
	one.Leader()
	other.Leader()
	_, err := one.Client().Submit(ctx, client.Request{Spec: task.Spec{Handler: "h"}, Payloads: client.Strings("x")})
	require.NoError(t, err)
	_, cursors := told(ctx, t, eventsAt(t, one)[0], &rotav1.WatchRequest{Newest: allEvents})
	refused := func(r *rotav1.WatchRequest) error {
		stream, err := eventsAt(t, other)[0].Watch(ctx, r)
		require.NoError(t, err)
		_, err = stream.Recv()
		return wire.FromStatus(err)
	}
	require.ErrorIs(t, refused(&rotav1.WatchRequest{Cursor: cursors[0]}), task.ErrConflict)
	require.ErrorIs(t, refused(&rotav1.WatchRequest{Cursor: []byte("x")}), task.ErrInvalid)
	require.ErrorIs(t, refused(&rotav1.WatchRequest{Kinds: []rotav1.EventKind{99}}), task.ErrInvalid)
	require.ErrorIs(t, refused(&rotav1.WatchRequest{Kinds: make([]rotav1.EventKind, 1000)}), task.ErrTooLarge)
}

// The SDK follows through the loss of the leader: each job is told of once, in order.
func TestEventsGoOnThroughAFailover(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	cl := c.Client()
	ctx, cancel := context.WithTimeout(t.Context(), 2*testcluster.Wait)
	defer cancel()
	const before, after = 10, 10
	submit := func() {
		_, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "h"}, Payloads: client.Strings("x")})
		require.NoError(t, err)
	}
	next, n := uint64(1), 0
	submit()
	for e, err := range cl.Events(ctx, client.EventsOptions{Newest: allEvents, Follow: true, Kinds: []task.EventKind{task.EventSubmitted, task.EventSessionOpened}}) {
		require.NoError(t, err)
		require.Equal(t, task.EventSubmitted, e.Kind)
		require.Equal(t, next, e.Job)
		next += uint64(e.Jobs)
		if n++; n == before {
			c.Kill(c.Leader())
		}
		if n == before+after {
			return
		}
		submit()
	}
	t.Fatal("the events have ended")
}

func TestEachServiceHasAHealth(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Wait)
	defer cancel()
	health := func(i int, service string) healthpb.HealthCheckResponse_ServingStatus {
		resp, err := healthpb.NewHealthClient(dialed(t, c.Servers[i].Addr)).Check(ctx, &healthpb.HealthCheckRequest{Service: service})
		require.NoError(t, err)
		return resp.GetStatus()
	}
	leader := c.Leader()
	follower := (leader + 1) % 3
	for _, i := range []int{leader, follower} {
		for _, service := range []string{"", "rota.v1.JobService", "rota.v1.ClusterService", "rota.v1.EventService"} {
			c.Eventually(func() bool { return health(i, service) == healthpb.HealthCheckResponse_SERVING }, "service "+service)
		}
	}
	require.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, health(follower, "rota.v1.WorkerService"), "workers have their sessions with the leader")
	c.Eventually(func() bool { return health(leader, "rota.v1.WorkerService") == healthpb.HealthCheckResponse_SERVING }, "workers at the leader")
	c.Kill(leader)
	c.Kill((leader + 2) % 3)
	c.Eventually(func() bool { return health(follower, "rota.v1.JobService") == healthpb.HealthCheckResponse_NOT_SERVING }, "no leader")
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, health(follower, "rota.v1.ClusterService"), "it is needed most when there is no leader")
	_, err := healthpb.NewHealthClient(dialed(t, c.Servers[follower].Addr)).Check(ctx, &healthpb.HealthCheckRequest{Service: "rota.v1.Nothing"})
	require.Equal(t, codes.NotFound, status.Code(err))
}

// What is refused is counted as well, by its code.
func TestCallsAreMeasured(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	c.Leader()
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Wait)
	defer cancel()
	jobs := rotav1.NewJobServiceClient(dialed(t, c.Addrs()[0]))
	_, err := jobs.GetJob(ctx, &rotav1.GetJobRequest{JobId: 99})
	require.Error(t, err)
	_, err = jobs.ListJobs(ctx, &rotav1.ListJobsRequest{})
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Servers[0].Node.Self().HTTPAddr+"/metrics", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	http.DefaultClient.CloseIdleConnections()
	for _, want := range []string{
		`rota_requests_total{code="NotFound",method="JobService/GetJob"} 1`, `rota_request_seconds_count{method="JobService/ListJobs"} 1`,
	} {
		require.Contains(t, string(body), want)
	}
}
