package transport

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

func newTestStream(all *logStreams, session uint64) *logStream {
	l := &logStream{all: all, session: session, reads: map[uint64]*logRead{}, wake: make(chan struct{}, 1), quiet: time.Now()}
	all.add(l)
	return l
}

func TestTooManyReadsAreRefused(t *testing.T) {
	t.Parallel()
	all := newLogStreams()
	var reads []*logRead
	for session := range uint64(maxLogReads / maxStreamReads) {
		l := newTestStream(all, session)
		for range maxStreamReads {
			r, err := l.read(&rotav1.LogRead{})
			require.NoError(t, err)
			reads = append(reads, r)
		}
		_, err := l.read(&rotav1.LogRead{})
		require.ErrorIs(t, err, task.ErrExhausted)
	}
	last := newTestStream(all, 99)
	_, err := last.read(&rotav1.LogRead{})
	require.ErrorIs(t, err, task.ErrExhausted, "of all workers")
	reads[0].close()
	_, err = last.read(&rotav1.LogRead{})
	require.NoError(t, err)
	_, err = reads[0].on.read(&rotav1.LogRead{})
	require.ErrorIs(t, err, task.ErrExhausted)
}

// The worker gets credit again as its reader takes what it has sent, and never more than it had.
func TestCreditIsGivenAsAReaderReads(t *testing.T) {
	t.Parallel()
	l := newTestStream(newLogStreams(), 1)
	r, err := l.read(&rotav1.LogRead{})
	require.NoError(t, err)
	sent := l.messages()
	require.Len(t, sent, 1)
	require.EqualValues(t, logCredit, sent[0].GetRead().GetCredit())
	data := &rotav1.LogData{Id: sent[0].GetRead().GetId(), Data: make([]byte, wire.MaxLogData)}
	count := 0
	for ; r.owed > 0; count++ {
		require.NoError(t, l.received(data))
	}
	require.ErrorIs(t, l.received(data), task.ErrInvalid)
	require.Empty(t, l.messages(), "nothing was taken")
	given := 0
	for range count {
		m, _, err := r.next(t.Context())
		require.NoError(t, err)
		require.NotNil(t, m)
		for _, m := range l.messages() {
			given += int(m.GetCredit().GetBytes())
		}
	}
	require.GreaterOrEqual(t, given, logCredit/2)
	require.LessOrEqual(t, r.owed, logCredit)
	r.close()
	sent = l.messages()
	require.NotNil(t, sent[len(sent)-1].GetDrop())
	require.NoError(t, l.received(data), "what was on its way is dropped")
}
