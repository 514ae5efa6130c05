package raftnet

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// A server that is not part of a cluster has no leadership to lose, not in term 0 either, the number that stands for
// "never led". Otherwise, on a busy machine, its log would report a lost leadership at each look.
func TestAServerThatNeverLedDoesNotAskForLeadershipAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t, raft.NewInmemStore())
	require.Zero(t, s.CurrentTerm())
	require.Equal(t, raft.Follower, s.State())

	var log bytes.Buffer
	w := newLeaderWatch(Config{Self: s.id, ElectionTimeout: testTimeout, Logger: slog.New(slog.NewTextHandler(&log, nil))}, s.Raft, s.reload)
	w.timeout = time.Hour // it counts as starved for all of the test
	w.last = time.Now()
	w.starved.note(w.last, 0, false)
	w.look()
	require.Empty(t, log.String())
	require.False(t, w.loose)
}
