package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
)

// blocking is a worker's stream that blocks the state machine, as a disk does where the
// state machine has to read what it does not have in memory.
type blocking struct{ gate chan struct{} }

func (b *blocking) Grant(fsm.Grant)            { <-b.gate }
func (b *blocking) Stop(uint64, uint32, int64) {}
func (b *blocking) End(bool)                   {}

func openSession(t *testing.T, n *Node, worker string) uint64 {
	t.Helper()
	res, err := n.Propose(t.Context(), &logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{
		Session: &logpb.Session{Worker: worker, Nonce: []byte("1"), Slots: 1, Handlers: []string{"none"}},
	}}})
	require.NoError(t, err)
	return res.Session
}

// Nobody can take over here, so the server ends.
func TestALeaderWhoseStateMachineStallsEnds(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	cfg.StallTimeout = 100 * time.Millisecond
	fatal := make(chan error, 1)
	cfg.Fatal = func(err error) { fatal <- err }
	n := start(t, cfg)
	b := &blocking{gate: make(chan struct{})}
	require.True(t, n.Fleet().Attach(openSession(t, n, "w"), b))
	n.ProposeAsync(submitOp(t, "a"), func(fsm.Result, error) {})
	select {
	case err := <-fatal:
		require.ErrorContains(t, err, "the disk has stalled")
	case <-time.After(patience):
		require.Fail(t, "nobody noticed")
	}
	close(b.gate)
	crash(t, n)
}
