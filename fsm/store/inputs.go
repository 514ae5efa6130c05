package store

import (
	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/task"
)

// AppendInputs appends to packed how the payloads of count tasks begin, of a job that has payloads of
// its own: up to task.MaxInput bytes of each, and one more where that is not all. What came with one request, of one
// page, is read at once: it has 4 MiB at most.
func (s *State) AppendInputs(packed []byte, id uint64, first, count uint32) ([]byte, error) {
	for count > 0 {
		payloads, n, err := s.payloadsTogether(id, first, count)
		if err != nil {
			return nil, err
		}
		for range n {
			var p []byte
			p, payloads, _ = task.PackNext(payloads)
			packed = task.PackAppend(packed, p[:min(len(p), task.MaxInput+1)])
		}
		first, count = first+n, count-n
	}
	return packed, nil
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
