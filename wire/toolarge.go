package wire

import (
	"sync/atomic"

	"github.com/rota-scheduler/rota/task"
)

// tooLarge counts requests that were refused for their size.
type tooLarge struct {
	// message has more bytes than a message may have, elements more of these. limit: something in
	// it is larger than it may be. busy: too many large ones were under way.
	message, elements, limit, busy atomic.Int64
}

func (t *tooLarge) counts() map[string]int64 {
	return map[string]int64{"message": t.message.Load(), "elements": t.elements.Load(), "limit": t.limit.Load(), "busy": t.busy.Load()}
}

// answered counts what a call was answered with.
func (t *tooLarge) answered(err error) {
	if err == nil {
		return
	}
	if st := statusOf(err); st != nil {
		if d := detailOf(st); d != nil && task.Kind(d.GetKind()) == task.KindTooLarge {
			t.limit.Add(1)
		}
	}
}

// TooLarge is how many requests that came through the door were refused for their size, by reason.
func (d *Door) TooLarge() map[string]int64 {
	if t := d.tooLarge.Load(); t != nil {
		return t.counts()
	}
	return (&tooLarge{}).counts()
}
