package worker

import (
	"context"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// What keeps an agent from starting commands at all, such as a lack of files or memory, or a full
// disk, is no fault of its tasks: one agent in trouble would fail a whole job within seconds. So
// tasks are given back, as if they had never come. The agent says in its beats that it is
// unhealthy, and why; the leader grants it nothing then. It tries whether a command can be started,
// ever less often, and is healthy again when one could.

const (
	// probeFirst is the wait before the first probe of an unhealthy agent. It doubles with each
	// one that fails, and with each fault soon after a good one, up to probeMost.
	probeFirst = 100 * time.Millisecond
	probeMost  = 10 * time.Second
	// convalescence is how long the agent must have been healthy for the next fault to be a new one.
	convalescence = time.Minute
)

// health is whether this agent can run tasks.
type health struct {
	// trouble is why not; nil: it can.
	trouble atomic.Pointer[string]
	// fell has an element when the agent has fallen ill.
	fell chan struct{}
}

// state is what the leader is to know of this worker as a whole; it changes seldom. What is sent
// is the one that was sent last if it is the same pointer.
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

// returned is the kind of a task that was never started.
var returned = kind{outcome: rotav1.Outcome_OUTCOME_RETURNED}

// giveBack is the result of a task that could not be started, for a reason that is not its own.
// No others are started until that is over.
func (w *Worker) giveBack(why error) result {
	text := healthText(why.Error())
	if w.health.trouble.Swap(&text) == nil {
		w.log.Error("this worker cannot start tasks: it gives back those that wait, and gets none until it can", "why", text)
		notify(w.health.fell)
	}
	// The leader hears of it before it hears of the first task.
	w.tellState()
	w.board.pause()
	return result{kind: returned}
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
		// The cut may go through a character, whose rest is dropped.
		text = strings.ToValidUTF8(text[:task.MaxHealth], "")
	}
	return text
}

// recover makes this worker healthy again when it can be.
func (w *Worker) recover(ctx context.Context) {
	wait := time.Duration(0)
	healthySince := -convalescence
	for {
		select {
		case <-w.health.fell:
		case <-ctx.Done():
			return
		}
		if monoNow()-healthySince > convalescence {
			wait = 0
		}
		for began := monoNow(); ; {
			wait = min(probeMost, max(probeFirst, 2*wait))
			if !sleep(ctx, wait) {
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
		// In this order: a fault that comes in between is a new one, and pauses the board again.
		w.health.trouble.Store(nil)
		w.board.resume()
		w.tellState()
	}
}
