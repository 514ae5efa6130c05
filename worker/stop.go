package worker

import "time"

const (
	// stopGrace is how long a task that was asked to end may take before it is killed. Exclusive
	// tasks have only what is left of their lease.
	stopGrace = 5 * time.Second
	// flushTimeout is how long a graceful stop waits for the answers to its reports, and
	// goodbyeTimeout for the answer to its goodbye. Without these answers the leader finds out by
	// the lease.
	flushTimeout   = 5 * time.Second
	goodbyeTimeout = 2 * time.Second
)

// stopTasks returns what waits, ends what runs, and says how many tasks do not end.
func (w *Worker) stopTasks() (running int) {
	w.log.Info("stopping: tasks that wait are given back, those that run may finish", "for", w.cfg.StopTimeout)
	// The leader hears of this before it hears of the first task that is returned.
	w.draining.Store(true)
	w.tellState()
	w.held.drain()
	w.held.close()
	// Slots that wait for room in the outbox have nothing more to do.
	w.out.Close()
	running = w.awaitSlots(w.cfg.Slots, time.After(w.cfg.StopTimeout))
	if running > 0 {
		w.held.cancelAll(ErrShutdown)
		// A task that was asked to end may need the whole grace, and then a moment to die.
		running = w.awaitSlots(running, time.After(stopGrace+time.Second))
	}
	all, exclusive := w.held.runs()
	if running > 0 && exclusive > 0 {
		// Other tasks wait for them, and they must have ended when the lease does. A handler that
		// does not end by itself ends with this process: without beats, the guard kills the process
		// before the lease ends.
		w.log.Error("exclusive tasks do not end: waiting for the lease to run out, which ends this process")
		w.lapse.Store(true)
		running = w.awaitSlots(running, nil)
	}
	if running > 0 {
		w.log.Error("tasks do not end, and are left behind", "tasks", all)
	}
	return running
}

// takeLeave delivers the results and ends the session. leftBehind is how many tasks did not end.
func (w *Worker) takeLeave(sessionEnded <-chan struct{}, leftBehind int) {
	delivered := w.awaitFlush(sessionEnded)
	w.settled.Store(delivered && leftBehind == 0)
	close(w.goodbye)
	select {
	case <-w.left:
		if err := w.id.save(0); err != nil {
			w.log.Error("cannot note that the session has ended", "error", err)
		}
	case <-sessionEnded:
	case <-time.After(goodbyeTimeout):
		w.log.Warn("the leader did not answer the goodbye: the session ends with its lease")
	}
}

// awaitSlots waits until a number of slots have ended, or for a timeout, and returns how many have
// not.
func (w *Worker) awaitSlots(running int, timeout <-chan time.Time) int {
	for running > 0 {
		select {
		case <-w.slotDone:
			running--
		case <-timeout:
			return running
		}
	}
	return 0
}

// awaitFlush waits up to flushTimeout until every report was answered, and says whether all were.
func (w *Worker) awaitFlush(sessionEnded <-chan struct{}) bool {
	timeout := time.NewTimer(flushTimeout)
	defer timeout.Stop()
	for !w.out.Empty() {
		select {
		case <-w.flushed:
		case <-sessionEnded:
			return false
		case <-timeout.C:
			w.log.Warn("results could not be delivered: their tasks will run again elsewhere")
			return false
		}
	}
	return true
}

// leave notes that the leader has answered the goodbye.
func (w *Worker) leave() { w.leaveOnce.Do(func() { close(w.left) }) }

// hasLeft says that the leader was told goodbye: the session is not to be opened again.
func (w *Worker) hasLeft() bool { return w.said.Load() }
