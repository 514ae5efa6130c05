package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/worker"
)

// builtinHandlers are in every worker that this binary starts: for the tour, tests and
// measurements.
var builtinHandlers = map[string]worker.Handler{
	"rota.noop":   handleNoop,
	"rota.square": handleSquare,
	"rota.sleep":  handleSleep,
	"rota.echo":   handleEcho,
}

// handleNoop does nothing. If there is a payload, it returns 16 bytes of the payload's
// hash, so that callers can tell results apart.
func handleNoop(_ context.Context, t *worker.Task) ([]byte, error) {
	if len(t.Payload) == 0 {
		return nil, nil
	}
	return noopResult(t.Payload), nil
}

func noopResult(payload []byte) []byte {
	sum := sha256.Sum256(payload)
	return sum[:16]
}

// handleSquare squares the number in the payload, or without a payload the task's value.
func handleSquare(_ context.Context, t *worker.Task) ([]byte, error) {
	n := new(big.Int).SetUint64(uint64(t.Value))
	if len(t.Payload) > 0 {
		text := strings.TrimSpace(string(t.Payload))
		if _, ok := n.SetString(text, 10); !ok || len(text) > 1000 {
			return nil, worker.Permanent(fmt.Errorf("%q is not a decimal number", oneLine(text, 40)))
		}
	}
	return []byte(n.Mul(n, n).String()), nil
}

// handleSleep sleeps for the duration in the payload.
func handleSleep(ctx context.Context, t *worker.Task) ([]byte, error) {
	d, err := time.ParseDuration(strings.TrimSpace(string(t.Payload)))
	if err != nil || d < 0 {
		return nil, worker.Permanent(fmt.Errorf("the payload %q is not a duration, such as 250ms", oneLine(string(t.Payload), 40)))
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// handleEcho returns the payload.
func handleEcho(_ context.Context, t *worker.Task) ([]byte, error) { return t.Payload, nil }
