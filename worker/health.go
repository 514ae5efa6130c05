package worker

import (
	"context"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/report"
)

// If a worker cannot start commands at all, because it has no more files or memory, or its disk is
// full, that is no fault of its tasks: one worker in trouble would fail a whole job within seconds. So
// the worker returns its tasks, as if they had never arrived. It says in its beats that it is
// unhealthy, and why, and the leader then grants it nothing. It tries to start a command, ever less
// often, and is healthy again when that works.

const (
	// probeFirst is the wait before the first probe of an unhealthy worker. It doubles with each probe
	// that fails, and with each fault that comes soon after a good probe, up to probeMost.
	probeFirst = 100 * time.Millisecond
	probeMost  = 10 * time.Second
	// recoveredAfter is how long the worker must have been healthy for the next fault to be a new one.
	recoveredAfter = time.Minute
)

// health says whether this worker can run tasks.
type health struct {
	// trouble is why not; nil: it can.
	trouble atomic.Pointer[string]
	// failed has an element when the worker has become unhealthy.
	failed chan struct{}
}

// state is what the leader must know of this worker as a whole. It changes seldom: while it is the
// same pointer, the leader knows it already.
func (w *Worker) state() *rotav1.WorkerState { return w.condition.Load() }

// tellState lets the leader know whether this worker takes tasks.
func (w *Worker) tellState() {
	w.telling.Lock()
	defer w.telling.Unlock()
	s := &rotav1.WorkerState{Draining: w.draining.Load()}
	if trouble := w.health.trouble.Load(); trouble != nil {
		s.Unhealthy = *trouble
	}
	w.condition.Store(s)
	notify(w.beatSoon)
}

// unhealthy is the result of a task that could not be started for a reason that is not its own. The
// worker starts no other task until it is healthy again.
func (w *Worker) unhealthy(why error) report.Result {
	text := healthText(why.Error())
	if w.health.trouble.Swap(&text) == nil {
		w.log.Error("this worker cannot start tasks: it gives back those that wait, and gets none until it can", "why", text)
		notify(w.health.failed)
	}
	// The leader hears of it before it hears of the first task.
	w.tellState()
	w.held.pause()
	return report.Result{Kind: report.Returned}
}

// healthText makes a text fit to be shown to people.
func healthText(text string) string {
	runes := []rune(text)
	for i, r := range runes {
		if !unicode.IsPrint(r) {
			runes[i] = '?'
		}
	}
	text = string(runes)
	if len(text) > task.MaxHealth {
		// If the cut goes through a character, what is left of that character goes too.
		text = strings.ToValidUTF8(text[:task.MaxHealth], "")
	}
	return text
}

// recover makes this worker healthy again when it can be.
func (w *Worker) recover(ctx context.Context) {
	wait := time.Duration(0)
	healthySince := -recoveredAfter
	for {
		select {
		case <-w.health.failed:
		case <-ctx.Done():
			return
		}
		if monoNow()-healthySince > recoveredAfter {
			wait = 0
		}
		for began := monoNow(); ; {
			wait = min(probeMost, max(probeFirst, 2*wait))
			if !ticks.Sleep(ctx, wait) {
				return
			}
			err := w.commands.Probe()
			if err == nil {
				w.log.Info("this worker can start tasks again", "after", (monoNow() - began).Round(time.Millisecond))
				break
			}
			text := healthText(err.Error())
			w.health.trouble.Store(&text)
			w.tellState()
		}
		healthySince = monoNow()
		// In this order: a fault that comes in between is a new one, and pauses the worker again.
		w.health.trouble.Store(nil)
		w.held.resume()
		w.tellState()
	}
}
