package worker

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

const (
	// workSlots and workBytes are how many works of jobs are kept of a stream, and how much
	// of them, so that a server need not send a job's shared payload with each assignment. The
	// largest work has some 400 KiB.
	workSlots = 64
	workBytes = 16 << 20
)

// works is what the server has put under numbers on one stream. The server decides what is kept
// where, and the worker sees to it that it is not too much.
type works struct {
	kept [workSlots]keptWork
	size int
}

type keptWork struct {
	spec *rotav1.WorkSpec
	size int
}

// forget lets go of what is kept under some numbers.
func (w *works) forget(numbers []uint32) error {
	for _, n := range numbers {
		if n < 1 || n > workSlots {
			return fmt.Errorf("%w: there is no work %d", errProtocol, n)
		}
		w.put(n, keptWork{})
	}
	return nil
}

// of returns the work of an assignment, and keeps it where the server says so.
func (w *works) of(a *rotav1.Assignment) (*rotav1.WorkSpec, error) {
	n := a.GetWorkNumber()
	switch {
	case n == 0:
		return a.GetWork(), nil
	case n > workSlots:
		return nil, fmt.Errorf("%w: it numbers a work %d, where %d are kept", errProtocol, n, workSlots)
	case a.GetWork() != nil:
		w.put(n, keptWork{a.GetWork(), proto.Size(a.GetWork())})
		if w.size > workBytes {
			return nil, fmt.Errorf("%w: it gave works of more than %d bytes to be kept", errProtocol, workBytes)
		}
	case w.kept[n-1].spec == nil:
		return nil, fmt.Errorf("%w: it speaks of work %d, which it has not sent", errProtocol, n)
	}
	return w.kept[n-1].spec, nil
}

func (w *works) put(n uint32, k keptWork) {
	at := &w.kept[n-1]
	w.size += k.size - at.size
	*at = k
}
