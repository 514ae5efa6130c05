package scheduler

import "time"

const (
	// givebackPause is for how long a worker is granted nothing that has given tasks back without
	// having started them: they would come back to it, as often as an entry can be written. It
	// doubles while it does so and nothing else, up to givebackMost.
	givebackPause = 100 * time.Millisecond
	givebackMost  = 5 * time.Second
	// givebackMemory is how long after the end of a pause the next one is longer.
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

// Heard takes note of a worker's condition. It holds from now on, whatever becomes of the beat
// it came with.
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

// GaveBack takes note that a worker reports tasks which it has not started.
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
