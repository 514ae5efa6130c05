package worker

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

const (
	// workSlots and workBytes bound how many works of jobs a worker keeps for a stream, and how many
	// bytes of them, so that a server need not send a job's shared payload with each assignment. The
	// largest work has some 400 KiB.
	workSlots = 64
	workBytes = 16 << 20
)

// keptWorks are the works that a server has this worker keep under numbers, for one stream. The server
// decides what is kept under which number, and the worker refuses what is too much.
type keptWorks struct {
	kept [workSlots]keptWork
	size int
}

type keptWork struct {
	spec *rotav1.WorkSpec
	size int
}

// forget removes the works under some numbers.
func (k *keptWorks) forget(numbers []uint32) error {
	for _, n := range numbers {
		if n < 1 || n > workSlots {
			return fmt.Errorf("%w: there is no work %d", errProtocol, n)
		}
		k.put(n, keptWork{})
	}
	return nil
}

// of returns the work of an assignment, and keeps it if the server says so.
func (k *keptWorks) of(a *rotav1.Assignment) (*rotav1.WorkSpec, error) {
	n := a.GetWorkNumber()
	switch {
	case n == 0:
		return a.GetWork(), nil
	case n > workSlots:
		return nil, fmt.Errorf("%w: it numbers a work %d, where %d are kept", errProtocol, n, workSlots)
	case a.GetWork() != nil:
		k.put(n, keptWork{a.GetWork(), proto.Size(a.GetWork())})
		if k.size > workBytes {
			return nil, fmt.Errorf("%w: it gave works of more than %d bytes to be kept", errProtocol, workBytes)
		}
	case k.kept[n-1].spec == nil:
		return nil, fmt.Errorf("%w: it speaks of work %d, which it has not sent", errProtocol, n)
	}
	return k.kept[n-1].spec, nil
}

func (k *keptWorks) put(n uint32, work keptWork) {
	at := &k.kept[n-1]
	k.size += work.size - at.size
	*at = work
}
