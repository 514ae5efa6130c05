package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/wire"
)

// turnedPause is how often the log gets a line about turned away connections of a port.
const turnedPause = time.Minute

// turnedAway logs the connections that the ports of a server did not let in, or ended.
type turnedAway struct {
	log *slog.Logger
	// now is the connections that were turned away since the start, by port; told is those that are logged already.
	now  func() map[string]wire.Turned
	told map[string]wire.Turned
}

func newTurnedAway(log *slog.Logger, now func() map[string]wire.Turned) *turnedAway {
	return &turnedAway{log: log, now: now, told: map[string]wire.Turned{}}
}

// run logs them until ctx ends.
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
