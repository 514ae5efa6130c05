package fsm

import (
	"slices"
)

// Segments returns results of a job in memory from a cursor on, up to about limit
// bytes. ok is false where the one at cursor is not in memory: on disk, or not yet
// there. They must not be changed.
func (m *Machine) Segments(id uint64, cursor uint32, limit int) (out []ResultSegment, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	j := m.jobs[id]
	if j == nil || len(j.segments) == 0 || j.segments[0].first > cursor || cursor >= j.received {
		return nil, false
	}
	k, _ := slices.BinarySearchFunc(j.segments, cursor, func(s segment, c uint32) int {
		if s.first+s.count <= c {
			return -1
		}
		return 1
	})
	for size := 0; k < len(j.segments) && size < limit; k++ {
		s := j.segments[k]
		out = append(out, ResultSegment{s.first, s.count, s.pb})
		size += SegmentBytes(s.pb)
	}
	return out, true
}

// Cursor returns the cursor of the outcome of a task in memory: final says that it
// has one, known that memory can tell.
func (m *Machine) Cursor(id uint64, i uint32) (cursor uint32, final, known bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	j := m.jobs[id]
	if j == nil || i >= j.total {
		return 0, false, false
	}
	s, done := j.slot(i)
	switch {
	case done:
		return 0, true, false
	case s != nil && s.state.Final():
		return uint32(s.at), true, true
	}
	return 0, false, true
}
