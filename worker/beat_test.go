package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/worker/report"
)

// sentNowhere is a stream that takes what is sent.
type sentNowhere struct {
	rotav1.WorkerService_SessionClient
}

func (sentNowhere) Send(*rotav1.SessionRequest) error { return nil }

// A kill in the morning explains nothing that happens in the evening, so it is noted while it is new.
func TestABeatOfARunningTaskNotesKills(t *testing.T) {
	t.Parallel()
	noted := 0
	w := &Worker{held: newHeldTasks(1, report.NewOutbox()), noteKills: func() { noted++ }}
	silence := newWatchdog(func() {})
	defer silence.disarm()
	require.NoError(t, w.sendBeat(sentNowhere{}, silence))
	require.Zero(t, noted, "nothing runs that could be killed")
	w.held.slots = []*slot{{current: &run{}}}
	require.NoError(t, w.sendBeat(sentNowhere{}, silence))
	require.Equal(t, 1, noted)
}
