package server

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/wire"
)

func TestConnectionsThatAreTurnedAwayHaveALineAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var mu sync.Mutex
		at := wire.Turned{}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		turned := newTurnedAway(slog.New(slog.NewTextHandler(&out, nil)), func() map[string]wire.Turned {
			mu.Lock()
			defer mu.Unlock()
			return map[string]wire.Turned{"grpc": at, "raft": {}}
		})
		running.Go(func() { turned.run(ctx) })
		for range 150 {
			time.Sleep(time.Second)
			mu.Lock()
			at.Refused, at.Displaced, at.Ended = at.Refused+3, at.Displaced+2, at.Ended+1
			mu.Unlock()
		}
		time.Sleep(time.Hour)
		cancel()
		running.Wait()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		require.Len(t, lines, 3)
		require.Contains(t, lines[2], "port=grpc")
		sum := 0
		for _, l := range lines {
			_, rest, _ := strings.Cut(l, "ended=")
			n := 0
			for _, c := range rest {
				n = 10*n + int(c-'0')
			}
			sum += n
		}
		require.Equal(t, 150, sum, "%q", lines)
	})
}
