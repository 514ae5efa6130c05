package fsm

// Stats is what metrics show of a machine.
type Stats struct {
	Jobs, Sessions, Classes, Keys int
	// LiveTasks is the tasks that were granted, or failed, and are not final.
	LiveTasks                 uint64
	DirtyBytes, FlushingBytes int64
	AppliedIndex              uint64
}

// Stats returns them.
func (m *Machine) Stats() Stats {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return Stats{
		Jobs: len(m.jobs), Sessions: len(m.sessions), Classes: len(m.classes), Keys: len(m.keys), LiveTasks: m.outstandingLive,
		DirtyBytes: m.dirtyBytes, FlushingBytes: m.flushingBytes, AppliedIndex: m.applied,
	}
}
