package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/wire"
)

// turnedPause is how often the log has a line of connections that were turned away at a port.
const turnedPause = time.Minute

// turnedAway tells the log of connections that the ports of a server did not let in, or ended.
type turnedAway struct {
	log *slog.Logger
	// now is what was turned away since the start, by port; told is what the log has been told of.
	now  func() map[string]wire.Turned
	told map[string]wire.Turned
}

func newTurnedAway(log *slog.Logger, now func() map[string]wire.Turned) *turnedAway {
	return &turnedAway{log: log, now: now, told: map[string]wire.Turned{}}
}

// run tells of it until ctx ends.
func (t *turnedAway) run(ctx context.Context) {
	for range ticks.Every(ctx, turnedPause) {
		t.tell()
	}
}

func (t *turnedAway) tell() {
	for port, now := range t.now() {
		before := t.told[port]
		if now == before {
			continue
		}
		t.told[port] = now
		t.log.Warn("connections were turned away: there were too many, or they asked for too much", "port", port,
			"refused", now.Refused-before.Refused, "displaced", now.Displaced-before.Displaced, "ended", now.Ended-before.Ended)
	}
}
