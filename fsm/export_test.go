package fsm

// SetMostLiveJobs bounds the jobs that have not ended.
func (m *Machine) SetMostLiveJobs(most int) { m.mostLiveJobs = most }
