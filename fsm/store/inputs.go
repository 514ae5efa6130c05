package store

import (
	"cmp"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/task"
)

// AppendInputs appends to packed how the payloads of some tasks begin, range after range, of a job that has payloads of
// its own: up to task.MaxInput bytes of each, and one more where that is not all. What came with one request, of one
// page, is read once, in whatever order the ranges are: it has up to 4 MiB, and results stand in the order in
// which tasks ended.
func (s *State) AppendInputs(packed []byte, id uint64, ranges []task.Range) ([]byte, error) {
	r := &inputReader{s: s, job: id}
	if slices.IsSortedFunc(ranges, byFirst) {
		for _, rg := range ranges {
			if err := r.read(rg); err != nil {
				return nil, err
			}
		}
		return append(packed, r.inputs...), nil
	}
	order := make([]int, len(ranges))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return byFirst(ranges[a], ranges[b]) })
	begins, ends := make([]int, len(ranges)), make([]int, len(ranges)) // within r.inputs
	for _, i := range order {
		begins[i] = len(r.inputs)
		if err := r.read(ranges[i]); err != nil {
			return nil, err
		}
		ends[i] = len(r.inputs)
	}
	for i := range ranges {
		packed = append(packed, r.inputs[begins[i]:ends[i]]...)
	}
	return packed, nil
}

func byFirst(a, b task.Range) int { return cmp.Compare(a.First, b.First) }

// inputReader reads how payloads begin, of tasks in the order of their indexes.
type inputReader struct {
	s   *State
	job uint64
	// payloads is what was read, of the tasks from next to end - 1.
	payloads  []byte
	next, end uint32
	// inputs is how those of all ranges so far begin, packed.
	inputs []byte
}

func (r *inputReader) read(rg task.Range) error {
	for i := rg.First; i < rg.First+rg.Count; i++ {
		if i < r.next || i >= r.end {
			payloads, n, err := r.s.payloadsTogether(r.job, i, fsm.PageTasks-i%fsm.PageTasks)
			if err != nil {
				return err
			}
			r.payloads, r.next, r.end = payloads, i, i+n
		}
		rest, _ := task.PackSkip(r.payloads, int(i-r.next))
		p, rest, _ := task.PackNext(rest)
		r.payloads, r.next = rest, i+1
		r.inputs = task.PackAppend(r.inputs, p[:min(len(p), task.MaxInput+1)])
	}
	return nil
}

// payloadsTogether returns the packed payloads of the first n of count tasks from first on, which came with one
// request: at least of one.
func (s *State) payloadsTogether(id uint64, first, count uint32) (packed []byte, n uint32, err error) {
	err = s.read(func(p *pair) error {
		if packed, n = p.machine.PayloadsTogether(id, first, count); n > 0 {
			return nil
		}
		// Behind the look into memory: what has left it is on disk by now.
		return p.viewJob(id, func(tx *bolt.Tx) (err error) {
			packed, n, err = readPayloads(tx, id, first, count, 1)
			return err
		})
	})
	return packed, n, err
}
