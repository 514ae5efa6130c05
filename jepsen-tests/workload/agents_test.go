package workload

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
)

func TestAVerdictIsThatOfTheVeryAttempt(t *testing.T) {
	t.Parallel()
	answer := &rotav1.ReportsAnswer{Exceptions: []*rotav1.ReportException{
		{JobId: 1, Index: 2, Token: 9, Verdict: rotav1.ReportVerdict_REPORT_VERDICT_SUPERSEDED},
	}}
	require.Equal(t, "superseded", VerdictOf(answer, history.Report{Job: 1, Index: 2, Token: 9}))
	for _, other := range []history.Report{{Job: 1, Index: 2, Token: 10}, {Job: 1, Index: 3, Token: 9}, {Job: 2, Index: 2, Token: 9}} {
		require.Equal(t, "recorded", VerdictOf(answer, other))
	}
	require.Len(t, verdicts, len(rotav1.ReportVerdict_name)-1, "every verdict but none has a name")
}

func TestAgentsKnowOlderTokensAndWaitForNewerOnes(t *testing.T) {
	t.Parallel()
	p := &agents{tokens: map[agentTask][]uint64{}, seen: make(chan struct{})}
	id := agentTask{job: 1}
	p.saw(id, 5)
	require.Zero(t, p.older(id, 5))
	newer := make(chan struct{})
	go func() {
		defer close(newer)
		p.superseded(t.Context(), id, 5)
	}()
	p.saw(agentTask{job: 2}, 6)
	p.saw(id, 7)
	<-newer
	require.EqualValues(t, 5, p.older(id, 7))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	p.superseded(gone, id, 7) // nobody waits for ever
}

func TestOneAgentAtATimePlaysATrick(t *testing.T) {
	t.Parallel()
	var p agents
	done, ok := p.claim()
	require.True(t, ok)
	_, ok = p.claim()
	require.False(t, ok)
	done()
	done, ok = p.claim()
	require.True(t, ok)
	done()
	p.honest.Store(true)
	_, ok = p.claim()
	require.False(t, ok, "the drain is free of tricks")
}

func TestMetricsOfAServerAreRead(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("# HELP x y\nrota_raft_state{state=\"Leader\"} 1\nrota_applied_index 1.234567e+06\nrota_raft_term 3\n"))
	}))
	t.Cleanup(web.Close)
	s := &cluster.Server{HTTPAddr: web.Listener.Addr().String(), Process: &cluster.Process{Host: network.Local(netip.MustParseAddr("127.0.0.1"))}}
	values, err := metrics(t.Context(), s)
	require.NoError(t, err)
	require.EqualValues(t, 1234567, number(values["rota_applied_index"]))
	require.EqualValues(t, 3, number(values["rota_raft_term"]))
	require.Zero(t, number("NaN"))
}
