package store

import "github.com/rota-scheduler/rota/task"

// inputStep is how many payloads are read at once to show how they begin: 4 MiB of the largest.
const inputStep = task.MaxRequest / task.MaxPayload

// AppendInputs appends to packed how the payloads of count tasks begin, of a job that has payloads of
// its own: up to task.MaxInput bytes of each, and one more where that is not all.
func (s *State) AppendInputs(packed []byte, id uint64, first, count uint32) ([]byte, error) {
	for count > 0 {
		n := min(count, inputStep)
		payloads, err := s.Payloads(id, first, n)
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
