package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/report"
)

func TestWhatOthersWaitForIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		exclusive bool
		outcome   rotav1.Outcome
		urgent    bool
	}{
		{"a task", false, rotav1.Outcome_OUTCOME_SUCCEEDED, false},
		{"a failure", false, rotav1.Outcome_OUTCOME_FAILED, false},
		{"a task of a serial job", true, rotav1.Outcome_OUTCOME_SUCCEEDED, true},
		{"a task that was told to stop", false, rotav1.Outcome_OUTCOME_STOPPED, true},
	} {
		w := &Worker{out: report.NewOutbox()}
		r := newRun(t.Context())
		r.grant, r.work = report.Grant{Job: 1}, &work{Work: task.Work{Exclusive: tc.exclusive}}
		w.finish(r, report.Result{Kind: report.Kind{Outcome: tc.outcome}})
		require.Equal(t, tc.urgent, w.out.Hold(100) == 0, tc.name)
	}
}
