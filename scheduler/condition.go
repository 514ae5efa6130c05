package scheduler

import "time"

const (
	// givebackPause is how long a worker is granted nothing after it gave back tasks that it had not
	// started. Without a pause, they would come back to it as often as an entry can be written. The pause
	// doubles, up to givebackMost, while the worker does nothing else.
	givebackPause = 100 * time.Millisecond
	givebackMost  = 5 * time.Second
	// givebackMemory is the time after a pause within which the next pause is longer.
	givebackMemory = 5 * time.Second
)

// Condition is what a worker says of itself as a whole.
type Condition struct {
	// Unhealthy is why it cannot start any task; "": it can.
	Unhealthy string
	// Draining says that it is about to end.
	Draining bool
}

// takes says whether a member is granted tasks now.
func (m *Member) takes(now time.Time) bool {
	return m.stream != nil && !m.closing && !m.shunned && m.rests.IsZero() && m.condition == Condition{} && !now.Before(m.pausedUntil)
}

// Heard notes a worker's condition. It holds from now on, even if the beat that it came with
// is refused.
func (f *Fleet) Heard(session uint64, stream Stream, c Condition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.member(session)
	if m == nil || m.stream != stream || m.condition == c {
		return
	}
	m.condition = c
	f.Wake()
}

// GaveBack notes that a worker gave back tasks that it had not started.
func (f *Fleet) GaveBack(session uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.member(session)
	if m == nil {
		return
	}
	now := time.Now()
	switch {
	case now.Before(m.pausedUntil):
		return // it was granted before it gave back
	case now.Sub(m.pausedUntil) > givebackMemory:
		m.pause = givebackPause
	default:
		m.pause = min(max(2*m.pause, givebackPause), givebackMost)
	}
	m.pausedUntil = now.Add(m.pause)
	time.AfterFunc(m.pause, f.Wake)
}
