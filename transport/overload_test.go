package transport_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// flood keeps the lane of reports full until stop is called. refused counts how often there was
// no room.
func flood(n *node.Node) (refused *atomic.Int64, stop func()) {
	refused = &atomic.Int64{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	op := &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: 1 << 40}}}
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				n.ProposeAsync(op, func(_ fsm.Result, err error) {
					if errors.Is(err, task.ErrExhausted) {
						refused.Add(1)
					}
				})
			}
		})
	}
	return refused, func() {
		cancel()
		wg.Wait()
	}
}

// A log without room makes a worker's reports wait. It does not end the worker's stream, to
// which everything that it holds would be sent again.
func TestReportsWaitForRoomInTheLog(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	conn, err := wire.Dial(c.Addrs()[0])
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	const tasks = 60
	stream, err := rotav1.NewWorkerServiceClient(conn).Session(ctx)
	require.NoError(t, err)
	hello := &rotav1.Hello{WorkerId: "w", BootNonce: []byte("1"), Slots: tasks, Handlers: []string{"h"}}
	require.NoError(t, stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: hello}}))
	_, err = stream.Recv()
	require.NoError(t, err)
	spec := &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "h"}}, MaxAttempts: 1}
	_, err = rotav1.NewJobServiceClient(conn).Submit(ctx, &rotav1.SubmitRequest{Spec: spec, Tasks: &rotav1.TaskSet{Count: tasks}})
	require.NoError(t, err)
	var given []*rotav1.Assignment
	for count := uint32(0); count < tasks; {
		m, err := stream.Recv()
		require.NoError(t, err)
		for _, a := range m.GetAssignments().GetAssignments() {
			given = append(given, a)
			count += a.GetRange().GetCount()
		}
	}

	refused, stop := flood(c.Servers[0].Node)
	defer stop()
	c.Eventually(func() bool { return refused.Load() > 0 }, "a log without room")
	seq := uint64(0)
	for _, a := range given {
		for i := range a.GetRange().GetCount() {
			seq++
			group := &rotav1.ReportGroup{
				JobId: a.GetJobId(), TokenOffset: a.GetTokenOffset(), Ranges: []*rotav1.IndexRange{{First: a.GetRange().GetFirst() + i, Count: 1}},
				Outcome: rotav1.Outcome_OUTCOME_SUCCEEDED,
			}
			reports := &rotav1.Reports{Seq: seq, Groups: []*rotav1.ReportGroup{group}}
			require.NoError(t, stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Reports{Reports: reports}}))
		}
	}
	stop()
	answered := map[uint64]bool{}
	for len(answered) < tasks {
		m, err := stream.Recv()
		require.NoError(t, err)
		if a := m.GetReportsAnswer(); a != nil {
			require.Empty(t, a.GetExceptions())
			answered[a.GetSeq()] = true
		}
	}
}
