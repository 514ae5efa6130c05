package node

import (
	"log/slog"
	"time"
)

const (
	// offerPause is how long a leader that has handed leadership over, and has it
	// again, keeps it: the others may be no better off.
	offerPause = 30 * time.Second
	// offerRetry is the pause after an offer that nobody took.
	offerRetry = time.Second
)

// offer hands leadership over for a reason that may last. It is for one goroutine.
type offer struct {
	// handOver begins, and says how that ended.
	handOver func() <-chan error
	logger   *slog.Logger

	// next is when leadership may be offered again.
	next time.Time
	done <-chan error
}

// make offers leadership to the others, unless it has done so of late.
func (o *offer) make(why string) {
	select {
	case err := <-o.done:
		o.done = nil
		if err != nil {
			o.next = time.Now().Add(offerRetry)
		}
	default:
	}
	if o.done != nil || time.Now().Before(o.next) {
		return
	}
	o.logger.Warn(why + ": handing leadership over")
	o.next = time.Now().Add(offerPause)
	o.done = o.handOver()
}
