package transport_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// heldLog is a log in memory whose writes wait while it is held.
type heldLog struct {
	*raft.InmemStore
	mu sync.Mutex
}

// StoreLogs implements raft.LogStore.
func (l *heldLog) StoreLogs(logs []*raft.Log) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.InmemStore.StoreLogs(logs)
}

// fill proposes until there is no room for reports in front of the log, which is held.
func fill(n *node.Node) {
	var full atomic.Bool
	op := &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: 1 << 40}}}
	for !full.Load() {
		n.ProposeAsync(op, func(_ fsm.Result, err error) {
			if errors.Is(err, task.ErrExhausted) {
				full.Store(true)
			}
		})
	}
}

// A log without room makes a worker's reports wait. It does not end the worker's stream, to
// which everything that it holds would be sent again.
func TestReportsWaitForRoomInTheLog(t *testing.T) {
	t.Parallel()
	log := &heldLog{InmemStore: raft.NewInmemStore()}
	c := testcluster.Start(t, 1, func(cfg *node.Config) {
		cfg.Stores, cfg.StallTimeout = log, time.Hour
	})
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

	log.mu.Lock()
	release := sync.OnceFunc(log.mu.Unlock)
	defer release()
	fill(c.Servers[0].Node)
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
	// Messages are taken in their order: the answer to this one says that the reports were.
	require.NoError(t, stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Beat{Beat: &rotav1.Beat{Seq: 1}}}))
	m, err := stream.Recv()
	require.NoError(t, err)
	require.NotNil(t, m.GetBeatAnswer(), "%v", m)
	release()
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
