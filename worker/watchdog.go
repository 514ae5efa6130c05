package worker

import (
	"sync"
	"time"
)

// watchdog calls a function if nobody disarms it in time.
type watchdog struct {
	mu    sync.Mutex
	bark  func()
	timer *time.Timer
}

func newWatchdog(bark func()) *watchdog { return &watchdog{bark: bark} }

// arm starts the time, unless it runs already.
func (d *watchdog) arm(after time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer == nil {
		d.timer = time.AfterFunc(after, d.bark)
	}
}

// rearm starts the time anew.
func (d *watchdog) rearm(after time.Duration) {
	d.disarm()
	d.arm(after)
}

func (d *watchdog) disarm() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
