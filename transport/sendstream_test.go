package transport_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport"
)

// A worker forgets a task when its report is answered. If a grant of that task was queued before, as when the worker
// attached, and came after the answer, the worker would run the task again: in a serial job, beside the next task.
func TestAnAnswerDoesNotOvertakeAGrant(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	job, err := c.Client().Submit(context.Background(), client.Request{Spec: task.Spec{Handler: "h"}, Count: 1})
	require.NoError(t, err)
	sent, err := transport.SendAll(c.Servers[0].Node, &rotav1.Hello{}, func(out *transport.SendStream) {
		out.Grant(fsm.Grant{Job: job.ID(), Count: 1, TokenOffset: 7, Attempt: 1})
		out.Stop(job.ID(), 0, 7)
		out.Answer(&rotav1.SessionResponse{Message: &rotav1.SessionResponse_ReportsAnswer{ReportsAnswer: &rotav1.ReportsAnswer{Seq: 1}}})
		out.Beat(1)
		out.Beat(2)
	})
	require.NoError(t, err)
	require.Len(t, sent, 4)
	require.EqualValues(t, 2, sent[0].GetBeatAnswer().GetSeq(), "of beats only the newest is answered: %v", sent)
	require.NotNil(t, sent[1].GetAssignments(), "%v", sent)
	require.NotNil(t, sent[2].GetStop(), "%v", sent)
	require.NotNil(t, sent[3].GetReportsAnswer(), "%v", sent)
}
