package fsm

import (
	"slices"

	"github.com/rota-scheduler/rota/task"
)

// Payloads returns the packed payloads of count tasks from first on, as far as
// they are in memory; ok is false where they are not.
func (m *Machine) Payloads(id uint64, first, count uint32) (packed []byte, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	j := m.jobs[id]
	if j == nil {
		return nil, false
	}
	var parts [][]byte
	size := 0
	for count > 0 {
		part, n := j.payloads(first, count)
		if n == 0 {
			return nil, false
		}
		parts, size = append(parts, part), size+len(part)
		first, count = first+n, count-n
	}
	if len(parts) == 1 {
		return parts[0], true
	}
	packed = make([]byte, 0, size)
	for _, p := range parts {
		packed = append(packed, p...)
	}
	return packed, true
}

// PayloadsTogether returns the packed payloads of the first n of count tasks from first on, which came with one
// request; 0 of them where they are not in memory. They must not be changed.
func (m *Machine) PayloadsTogether(id uint64, first, count uint32) (packed []byte, n uint32) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if j := m.jobs[id]; j != nil {
		return j.payloads(first, count)
	}
	return nil, 0
}

// payloads returns the packed payloads of up to count tasks from first on that
// stand in one chunk.
func (j *job) payloads(first, count uint32) (packed []byte, n uint32) {
	k, _ := slices.BinarySearchFunc(j.chunks, first, func(c chunk, i uint32) int {
		if c.first+c.count <= i {
			return -1
		}
		return 1
	})
	if k == len(j.chunks) || j.chunks[k].first > first {
		return nil, 0
	}
	c := &j.chunks[k]
	n = min(count, c.first+c.count-first)
	from, _ := task.PackSkip(c.packed, int(first-c.first))
	rest, _ := task.PackSkip(from, int(n))
	end := len(from) - len(rest)
	return from[:end:end], n
}
