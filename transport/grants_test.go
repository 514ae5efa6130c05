package transport_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport"
	"github.com/rota-scheduler/rota/worker"
)

// A job of many short tasks makes hundreds of assignments a second.
func TestASharedPayloadIsSentOnceOnAStream(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	spec := task.Spec{Handler: "h", SharedPayload: make([]byte, task.MaxPayload), Values: []task.ValueRun{{First: 100, Step: 10, Count: 8}}}
	job, err := c.Client().Submit(context.Background(), client.Request{Spec: spec, Count: 8})
	require.NoError(t, err)
	send := func(hello *rotav1.Hello) (assignments []*rotav1.Assignment) {
		sent, err := transport.SendAll(c.Servers[0].Node, hello, func(out *transport.SendStream) {
			for i := range uint32(4) {
				out.Grant(fsm.Grant{Job: job.ID(), First: 2 * i, Count: 2, TokenOffset: int64(i), Attempt: 1})
			}
		})
		require.NoError(t, err)
		for _, m := range sent {
			assignments = append(assignments, m.GetAssignments().GetAssignments()...)
		}
		require.Len(t, assignments, 4)
		return assignments
	}
	for i, a := range send(&rotav1.Hello{WorkSlots: 2, WorkBytes: 1 << 20}) {
		require.EqualValues(t, 1, a.WorkNumber)
		require.Equal(t, i == 0, a.Work != nil, "assignment %d", i)
		require.Equal(t, []uint32{100, 10}, []uint32{a.ArrayFirst, a.ArrayStep})
	}
	for _, hello := range []*rotav1.Hello{{}, {WorkSlots: 2, WorkBytes: task.MaxPayload}} { // keeps nothing; too little
		for _, a := range send(hello) {
			require.Zero(t, a.WorkNumber)
			require.Len(t, a.Work.GetSharedPayload(), task.MaxPayload)
			require.Equal(t, []uint32{100, 10}, []uint32{a.Work.ArrayFirst, a.Work.ArrayStep})
		}
	}
}

// TestAssignmentsOfTheLargestSpecsFitTheirMessages, whatever of a spec it is that is large, and whether
// the worker keeps it or not.
func TestAssignmentsOfTheLargestSpecsFitTheirMessages(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	command := largestSpec()
	command.SharedPayload, command.Values = nil, nil
	for name, spec := range map[string]task.Spec{"command and environment": command, "all of it": largestSpec()} {
		const jobs = 60
		var ids []uint64
		for i := range jobs {
			spec.Name = fmt.Sprint(i)
			spec.Command = []string{spec.Name, strings.Repeat("a", task.MaxArgBytes-len(spec.Name))}
			job, err := c.Client().Submit(context.Background(), client.Request{Spec: spec, Count: 2 * task.MaxValueRuns})
			require.NoError(t, err)
			ids = append(ids, job.ID())
		}
		for _, hello := range []*rotav1.Hello{{}, {WorkSlots: 64, WorkBytes: 64 << 20}} {
			sent, err := transport.SendAll(c.Servers[0].Node, hello, func(out *transport.SendStream) {
				for i, id := range ids {
					out.Grant(fsm.Grant{Job: id, Count: 1, TokenOffset: int64(i), Attempt: 1})
				}
			})
			require.NoError(t, err)
			got := 0
			for _, m := range sent {
				require.Less(t, proto.Size(m), listedMost, name)
				got += len(m.GetAssignments().GetAssignments())
			}
			require.Equal(t, jobs, got, name)
		}
	}
}

// TestTasksHaveThePayloadsOfTheirOwnJobs: tasks come, in turns, from more jobs than a worker keeps the works of.
func TestTasksHaveThePayloadsOfTheirOwnJobs(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	c.Worker(worker.Config{Name: "w", Slots: 4, Handlers: map[string]worker.Handler{"h": func(_ context.Context, t *worker.Task) ([]byte, error) {
		return fmt.Appendf(nil, "%d of %d", t.Value, t.Payload[0]), nil
	}}})
	const jobs, tasks = 80, 6
	ctx, cl := context.Background(), c.Client()
	var made []*client.Job
	for i := range jobs {
		payload := make([]byte, 2*fsm.SpecApart)
		payload[0] = byte(i)
		job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{
			Handler: "h", SharedPayload: payload, MaxParallel: 2, Values: []task.ValueRun{{First: 50, Step: 1, Count: 3}, {First: 90, Step: 2, Count: 3}},
		}, Count: tasks})
		require.NoError(t, err)
		made = append(made, job)
	}
	for i, job := range made {
		for r, err := range job.AsCompleted(ctx) {
			require.NoError(t, err)
			value := []uint32{50, 51, 52, 90, 92, 94}[r.Index]
			require.Equal(t, fmt.Sprintf("%d of %d", value, i), string(r.Output))
		}
	}
}
