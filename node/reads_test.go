package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// barriers is a raft whose barriers pass when the test says so.
type barriers chan *future

func (b barriers) Barrier(time.Duration) raft.Future {
	f := newFuture()
	b <- f
	return f
}

func newReads(b barriers) *reads {
	return &reads{
		raft: b, log: raft.NewInmemStore(), state: newInMemory(), leader: hint(""),
		failure: func() error { return nil }, checkLeader: func() error { return nil }, fatal: func(error) {},
	}
}

// A barrier that is under way may lack what was committed since it began.
func TestReadsThatWaitShareABarrierThatBeganAfterTheyCame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := make(barriers, 10)
		r := newReads(b)
		const late = 5
		confirmed := make(chan error, 1+late)
		read := func() { confirmed <- r.confirm(t.Context()) }
		go read()
		synctest.Wait()
		for range late {
			go read()
		}
		synctest.Wait()
		require.Len(t, b, 1)
		(<-b).end(nil, nil)
		synctest.Wait()
		require.Len(t, confirmed, 1, "the others came after that barrier had begun")
		require.Len(t, b, 1, "and share the next one")
		(<-b).end(nil, nil)
		synctest.Wait()
		require.Len(t, confirmed, 1+late)
		require.Empty(t, b)
		for range 1 + late {
			require.NoError(t, <-confirmed)
		}
		r.close()
		require.ErrorIs(t, r.confirm(t.Context()), task.ErrUnavailable)
	})
}

// A server that ends answers the reads that wait, and waits for the barrier of those that have gone.
func TestTheEndOfReadsWaitsForTheirBarrier(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := make(barriers, 1)
		r := newReads(b)
		gone, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { left <- r.confirm(gone) }()
		synctest.Wait()
		leave()
		require.ErrorIs(t, <-left, context.Canceled)
		closed := make(chan struct{})
		go func() { r.close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			require.Fail(t, "the barrier is still under way")
		default:
		}
		(<-b).end(nil, raft.ErrLeadershipLost)
		<-closed
	})
}
