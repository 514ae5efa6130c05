package hostile

import (
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// given waits for the next task that a worker gets.
func (l *line) given() *rotav1.Assignment {
	l.h.t.Helper()
	for {
		m, err := l.Recv()
		require.NoError(l.h.t, err)
		if a := m.GetAssignments().GetAssignments(); len(a) > 0 {
			return a[0]
		}
	}
}

// answered waits for the answer to a report.
func (l *line) answered() *rotav1.ReportsAnswer {
	l.h.t.Helper()
	for {
		m, err := l.Recv()
		require.NoError(l.h.t, err)
		if a := m.GetReportsAnswer(); a != nil {
			return a
		}
	}
}

// Tokens and ids of sessions count up, and everybody can see them. With the token of a serial task another worker
// once ended it, and the next task began while it ran. With the id of its session another process took all tasks of
// the worker.
func TestNobodyActsForTheSessionOfAnother(t *testing.T) {
	t.Parallel()
	h := start(t)
	cl := h.Client()
	hello := helloOf()
	victim := h.attach(hello)
	job, err := cl.Submit(t.Context(), client.Request{Spec: task.Spec{Name: "serial", Handler: "hostile", Serial: true}, Count: 2})
	require.NoError(t, err)
	first := victim.given()

	thief := h.attach(helloOf())
	seen, err := job.Task(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, hello.Name, seen.Worker, "who runs a task is for everybody to see")
	report := reportOf(job.ID(), int64(seen.Token), tasks(0, 1))
	require.NoError(t, thief.say(&rotav1.Reports{Seq: 1, Groups: []*rotav1.ReportGroup{report}}))
	exceptions := thief.answered().GetExceptions()
	require.Len(t, exceptions, 1)
	require.Equal(t, rotav1.ReportVerdict_REPORT_VERDICT_SUPERSEDED, exceptions[0].GetVerdict())

	workers, err := cl.Workers(t.Context(), client.WorkersOptions{Worker: hello.WorkerId})
	require.NoError(t, err)
	require.Len(t, workers, 1)
	for _, proof := range [][]byte{nil, []byte("guessed"), []byte(hello.WorkerId)} {
		_, err = h.tryAttach(&rotav1.Hello{
			WorkerId: hello.WorkerId, BootNonce: []byte("another process"), Replaces: workers[0].SessionID, ReplacesNonce: proof,
			SessionId: workers[0].SessionID, Slots: 4, Handlers: []string{"hostile"},
		})
		require.ErrorIs(t, wire.FromStatus(err), task.ErrConflict)
	}

	seen, err = job.Task(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, task.Assigned, seen.State)
	require.NoError(t, victim.say(&rotav1.Reports{Seq: 1, Groups: []*rotav1.ReportGroup{reportOf(job.ID(), first.GetTokenOffset(), tasks(0, 1))}}))
	require.Empty(t, victim.answered().GetExceptions(), "it was the victim's all the time")
}
