package wire

import (
	"sync/atomic"

	"github.com/rota-scheduler/rota/task"
)

// tooLarge counts requests that were refused for their size.
type tooLarge struct {
	// message: it has too many bytes; elements: it has too many elements. limit: something in it is too large. busy: too
	// many large requests were under way.
	message, elements, limit, busy atomic.Int64
}

func (t *tooLarge) counts() map[string]int64 {
	return map[string]int64{"message": t.message.Load(), "elements": t.elements.Load(), "limit": t.limit.Load(), "busy": t.busy.Load()}
}

// answered counts a call by its answer.
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

// TooLarge is how many requests of the door's connections were refused for their size, by reason.
func (d *Door) TooLarge() map[string]int64 {
	if t := d.tooLarge.Load(); t != nil {
		return t.counts()
	}
	return (&tooLarge{}).counts()
}
