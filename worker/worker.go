package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire/leader"
	"github.com/rota-scheduler/rota/worker/command"
	"github.com/rota-scheduler/rota/worker/guard"
)

const (
	// patience is how long a task that was fetched in advance waits behind longer
	// ones before it is given back; see board.relieve.
	patience = time.Second
	// looksPerPatience is how often within that time it is looked for such tasks.
	looksPerPatience = 4
	// stopGrace is how long a task may take to end once it was asked to, before it is
	// killed. Exclusive tasks have only what their lease leaves them.
	stopGrace = 5 * time.Second
	// flushTimeout is how long a graceful stop waits for the answers to its reports,
	// and goodbyeTimeout for that to its goodbye. Without them the leader finds out
	// by the lease.
	flushTimeout   = 5 * time.Second
	goodbyeTimeout = 2 * time.Second
)

// Worker is an agent: it holds a session and runs the tasks that it is assigned.
type Worker struct {
	cfg Config
	log *slog.Logger
	id  *identity
	// finder finds the leader, and link is the stream to it.
	finder *leader.Finder
	link   *link
	lease  lease
	board  *board
	out    *outbox
	// works is those of the open stream; only its reader looks at it.
	works works
	guard *guard.Client
	// commands runs tasks that are programs.
	commands *command.Runner
	// noteKills is commands.NoteKills.
	noteKills func()
	health    health
	// condition is what the leader is to know of this worker's health, and told, which the
	// stream's writer alone uses, what was said last.
	condition atomic.Pointer[rotav1.WorkerState]
	telling   sync.Mutex
	draining  atomic.Bool
	told      *rotav1.WorkerState
	slotDone  chan *slot
	// beatSoon asks the stream's writer to look whether a beat is due, fenceSoon the fence
	// whether exclusive tasks came, and relieveSoon relieve whether any did. flushed has an
	// element when the outbox has become empty.
	beatSoon, fenceSoon, relieveSoon, flushed chan struct{}
	// goodbye is closed when the leader is to be told that this worker leaves; left,
	// when it has answered; said, that it was told.
	goodbye, left chan struct{}
	leaveOnce     sync.Once
	said          atomic.Bool
	// settled says that all that was started has ended and was reported.
	settled atomic.Bool
	// lapse says that no more beats are sent, so that the lease runs out.
	lapse atomic.Bool
	ran   atomic.Bool
}

// New makes a worker. It does nothing before Run.
func New(cfg Config) (*Worker, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	w := &Worker{
		cfg: cfg, log: cfg.Logger, out: newOutbox(),
		slotDone: make(chan *slot, cfg.Slots),
		beatSoon: make(chan struct{}, 1), fenceSoon: make(chan struct{}, 1), relieveSoon: make(chan struct{}, 1), flushed: make(chan struct{}, 1),
		goodbye: make(chan struct{}), left: make(chan struct{}), health: health{fell: make(chan struct{}, 1)},
	}
	w.finder = leader.New(leader.Config{Addrs: cfg.Addrs, Connect: w.source, Logger: cfg.Logger}, follower{w})
	w.link = newLink(w.finder)
	w.board = newBoard(cfg.Slots, w.out)
	w.board.mayStart = w.lease.startable
	w.board.workCame = func() { notify(w.relieveSoon) }
	w.board.exclusiveCame = func() { notify(w.beatSoon); notify(w.fenceSoon) }
	return w, nil
}

// Run serves until ctx ends, and then stops gracefully: tasks that wait are given
// back, those that run may finish for Config.StopTimeout, results are delivered. It
// returns an error where the worker could not start or the servers will never
// accept it. It can be called once.
func (w *Worker) Run(ctx context.Context) error {
	if w.ran.Swap(true) {
		return task.Errorf(task.KindInvalid, "this worker has run already: make a new one")
	}
	var err error
	if w.id, err = openIdentity(ctx, w.cfg.DataDir, w.log); err != nil {
		return err
	}
	defer w.id.close()
	w.prepareProcesses()
	defer w.commands.Close()
	defer w.guard.Close()
	if w.cfg.Commands {
		if err := w.commands.Start(); err != nil {
			return err
		}
	}

	// Tasks and the session live on through the graceful stop.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var parts sync.WaitGroup
	defer parts.Wait()
	defer end()
	sessionEnded := make(chan struct{})
	var sessionErr error
	parts.Go(func() {
		defer close(sessionEnded)
		sessionErr = w.keepAttached(life)
	})
	parts.Go(func() { w.finder.Watch(life) })
	parts.Go(func() { w.fence(life) })
	parts.Go(func() { w.relieve(life) })
	parts.Go(func() { w.recover(life) })
	parts.Go(func() { w.guard.Tend(life) })
	for _, s := range w.board.slots {
		go w.serveSlot(context.WithoutCancel(ctx), s)
	}

	select {
	case <-ctx.Done():
	case <-sessionEnded:
		w.log.Error("the servers do not accept this worker", "error", sessionErr)
		w.stopTasks()
		return sessionErr
	}
	left := w.stopTasks()
	w.takeLeave(sessionEnded, left)
	return nil
}

// prepareProcesses gets ready to start a guard and commands.
func (w *Worker) prepareProcesses() {
	deadline := func() time.Duration { return w.lease.after(killShare) }
	w.guard = guard.NewClient(guard.Config{
		Logger: w.log, Lock: w.id.guardLock, Deadline: deadline, Unguarded: w.board.fence,
	})
	w.commands = command.NewRunner(command.Config{
		Logger: w.log, Guard: w.guard, Addrs: w.cfg.Addrs, Scratch: w.id.scratch(), Deadline: deadline, Grace: commandGrace,
	})
	w.noteKills = w.commands.NoteKills
}

// stopTasks gives back what waits, ends what runs, and returns how many tasks do not end.
func (w *Worker) stopTasks() (running int) {
	w.log.Info("stopping: tasks that wait are given back, those that run may finish", "for", w.cfg.StopTimeout)
	// The leader hears of it before it hears of the first task that is given back.
	w.draining.Store(true)
	w.tellState()
	w.board.drain()
	w.board.close()
	// Slots that wait for room have nothing to do any more.
	w.out.close()
	running = w.awaitSlots(w.cfg.Slots, time.After(w.cfg.StopTimeout))
	if running > 0 {
		w.board.cancelAll(ErrShutdown)
		// What was asked to end may need the grace, and then a moment to die.
		running = w.awaitSlots(running, time.After(stopGrace+time.Second))
	}
	all, exclusive := w.board.runs()
	if running > 0 && exclusive > 0 {
		// They hold what others wait for, and must have ended when the lease does. A
		// handler that does not end by itself ends with this process: without beats
		// the guard kills it when the lease demands it.
		w.log.Error("exclusive tasks do not end: waiting for the lease to run out, which ends this process")
		w.lapse.Store(true)
		running = w.awaitSlots(running, nil)
	}
	if running > 0 {
		w.log.Error("tasks do not end, and are left behind", "tasks", all)
	}
	return running
}

// takeLeave delivers the results and ends the session. So many tasks are left behind.
func (w *Worker) takeLeave(sessionEnded <-chan struct{}, left int) {
	delivered := w.awaitFlush(sessionEnded)
	w.settled.Store(delivered && left == 0)
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

// awaitSlots waits for the slots to end, until a timeout, and returns how many have
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

// awaitFlush waits until every report was answered, within reason, and says whether all were.
func (w *Worker) awaitFlush(sessionEnded <-chan struct{}) bool {
	timeout := time.NewTimer(flushTimeout)
	defer timeout.Stop()
	for !w.out.empty() {
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

// leave takes note that the leader has answered the goodbye.
func (w *Worker) leave() { w.leaveOnce.Do(func() { close(w.left) }) }

// hasLeft says that the goodbye was said: the session is not to be opened again.
func (w *Worker) hasLeft() bool { return w.said.Load() }

// relieve gives tasks back that wait behind long ones.
func (w *Worker) relieve(ctx context.Context) {
	for {
		if w.board.waiting() == 0 {
			// Thousands of idle workers may share a machine: none of them looks in vain.
			select {
			case <-w.relieveSoon:
				continue
			case <-ctx.Done():
				return
			}
		}
		if !sleep(ctx, patience/looksPerPatience) {
			return
		}
		w.board.relieve(patience)
	}
}

// fence asks exclusive tasks to end when too much of the lease has passed. Their
// killing is left to the guard, which does it also when this process cannot.
func (w *Worker) fence(ctx context.Context) {
	for {
		if w.board.exclusivesHeld() == 0 {
			select {
			case <-w.fenceSoon:
			case <-ctx.Done():
				return
			}
			continue
		}
		if bootNow() >= w.lease.after(stopShare) {
			w.board.fence()
		}
		if !sleep(ctx, w.lease.tick()) {
			return
		}
	}
}

// fenceGuard tells the guard until when exclusive tasks may live.
func (w *Worker) fenceGuard() {
	if err := w.guard.Extend(); err != nil && !errors.Is(err, guard.ErrGuardLost) {
		w.log.Error("cannot tell the guard of the lease", "error", err)
	}
}
