package fsm

import "sync"

// Watchers wakes those who wait for a change of a job, or of anything, and keeps what was told and counted of entries. It
// outlives a machine: when a snapshot takes its place, everybody is woken.
type Watchers struct {
	events Events
	tally  Tally

	mu   sync.Mutex
	jobs map[uint64]map[*watcher]struct{}
	// access is closed at the next change of the access tokens.
	access chan struct{}
}

// watcher is one that waits.
type watcher struct{ wake func() }

// NewWatchers returns an empty Watchers.
func NewWatchers() *Watchers {
	return &Watchers{jobs: map[uint64]map[*watcher]struct{}{}, access: make(chan struct{})}
}

// Events is the events of the newest entries.
func (w *Watchers) Events() *Events { return &w.events }

// Tally is what entries have done since this server's start.
func (w *Watchers) Tally() *Tally { return &w.tally }

// Watch returns a channel that gets a value after each change of the job, and a
// function that ends the watch. Changes that come while a value waits are one.
func (w *Watchers) Watch(job uint64) (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	return ch, w.WatchFunc(job, func() {
		select {
		case ch <- struct{}{}:
		default:
		}
	})
}

// WatchFunc calls wake after each change of the job, until stop is called. wake runs
// while the state machine is locked: it must return at once and must not call back.
func (w *Watchers) WatchFunc(job uint64, wake func()) (stop func()) {
	me := &watcher{wake}
	w.mu.Lock()
	defer w.mu.Unlock()
	set := w.jobs[job]
	if set == nil {
		set = map[*watcher]struct{}{}
		w.jobs[job] = set
	}
	set[me] = struct{}{}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(set, me)
		// Another watch may have made a new set meanwhile.
		if len(set) == 0 && len(w.jobs[job]) == 0 {
			delete(w.jobs, job)
		}
	}
}

// Watched is how many jobs somebody watches.
func (w *Watchers) Watched() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.jobs)
}

// WakeAll wakes every watcher.
func (w *Watchers) WakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, set := range w.jobs {
		wakeSet(set)
	}
	w.wakeAccess()
}

// AccessChanged returns a channel that is closed at the next change of the access tokens.
func (w *Watchers) AccessChanged() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.access
}

func (w *Watchers) accessChanged() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wakeAccess()
}

// wakeAccess wakes who waits for a change of the access tokens. mu is held.
func (w *Watchers) wakeAccess() {
	close(w.access)
	w.access = make(chan struct{})
}

func (w *Watchers) notify(jobs []*job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.jobs) == 0 {
		return
	}
	for _, j := range jobs {
		wakeSet(w.jobs[j.id])
	}
}

func wakeSet(set map[*watcher]struct{}) {
	for w := range set {
		w.wake()
	}
}
