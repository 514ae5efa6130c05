package fsm

import "unsafe"

// SetMostLiveJobs bounds the jobs that have not ended.
func (m *Machine) SetMostLiveJobs(most int) { m.mostLiveJobs = most }

// JobBytes is what each job in memory takes of its own.
const JobBytes = unsafe.Sizeof(job{})
