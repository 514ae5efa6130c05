package worker

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/leader"
	"github.com/rota-scheduler/rota/worker/command"
	"github.com/rota-scheduler/rota/worker/guard"
	"github.com/rota-scheduler/rota/worker/report"
	"github.com/rota-scheduler/rota/worker/tasklog"
)

// Worker is an agent: it holds a session and runs the tasks that the leader assigns to it.
type Worker struct {
	cfg Config
	log *slog.Logger
	id  *identity

	// finder finds the leader, stream is the session's stream to it, and works is what the server
	// has this worker keep on that stream. Only the reader of the stream uses works.
	finder *leader.Finder
	stream *sessionStream
	works  keptWorks
	lease  lease

	// held are the tasks that are here, and out are the results that wait for an answer.
	held *heldTasks
	out  *report.Outbox

	// guard watches over what runs, and commands runs tasks that are programs. noteKills is
	// commands.NoteKills.
	guard     *guard.Client
	commands  *command.Runner
	noteKills func()
	// logs is what commands print.
	logs       *tasklog.Store
	logStreams *logStreams

	health health
	// condition is what the leader must know of this worker as a whole, and told is what it was told
	// last. Only the writer of the stream uses told.
	condition atomic.Pointer[rotav1.WorkerState]
	telling   sync.Mutex
	draining  atomic.Bool
	told      *rotav1.WorkerState

	// Each of these has an element when something has happened: beatSoon tells the writer of the
	// stream that a beat may be due, exclusiveCame and tasksCame tell fence and returnUnreached that
	// tasks arrived, and flushed says that the outbox has become empty.
	beatSoon, exclusiveCame, tasksCame, flushed chan struct{}
	slotDone                                    chan *slot

	// goodbye is closed when the leader is to hear that this worker leaves, said is set when it was
	// told so, and left is closed when it has answered.
	goodbye, left chan struct{}
	leaveOnce     sync.Once
	said          atomic.Bool
	// settled says that everything that was started has ended and was reported.
	settled atomic.Bool
	// lapse says that no more beats are sent, so that the lease runs out.
	lapse atomic.Bool
	ran   atomic.Bool
}

// New makes a worker. It does nothing until Run.
func New(cfg Config) (*Worker, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	w := &Worker{
		cfg: cfg, log: cfg.Logger, out: report.NewOutbox(),
		slotDone: make(chan *slot, cfg.Slots),
		beatSoon: make(chan struct{}, 1), exclusiveCame: make(chan struct{}, 1), tasksCame: make(chan struct{}, 1),
		flushed: make(chan struct{}, 1), goodbye: make(chan struct{}), left: make(chan struct{}),
		health: health{failed: make(chan struct{}, 1)},
	}
	w.finder = leader.New(leader.Config{Addrs: cfg.Addrs, Lookup: wire.LookupBy(cfg.Resolver), Connect: w.source, Logger: cfg.Logger}, follower{w})
	w.stream = newSessionStream(w.finder)
	w.held = newHeldTasks(cfg.Slots, w.out)
	w.held.mayStart = w.lease.startable
	w.held.onArrival = func() { notify(w.tasksCame) }
	w.held.onExclusive = func() { notify(w.beatSoon); notify(w.exclusiveCame) }
	return w, nil
}

// Run serves until ctx ends, and then stops gracefully: it returns tasks that wait, lets those that
// run go on for Config.StopTimeout, and delivers results. It returns an error if the worker could not
// start, or the servers will never accept it. It can be called once.
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
	defer w.logs.Close()
	defer w.commands.Close()
	defer w.guard.Close()
	if w.cfg.Commands {
		if err := w.commands.Start(); err != nil {
			return err
		}
	}

	// Tasks and the session go on during the graceful stop.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	w.logStreams = newLogStreams(life, w)
	defer w.logStreams.wait()
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
	parts.Go(func() { w.returnUnreached(life) })
	parts.Go(func() { w.recover(life) })
	parts.Go(func() { w.guard.Tend(life) })
	for _, s := range w.held.slots {
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
		Logger: w.log, Lock: w.id.guardLock, Deadline: deadline, Unguarded: w.held.fence,
	})
	w.commands = command.NewRunner(command.Config{
		Logger: w.log, Guard: w.guard, Addrs: w.cfg.Addrs, Scratch: w.id.scratch(), Deadline: deadline, Grace: commandGrace,
	})
	w.noteKills = w.commands.NoteKills
	logs := w.cfg.logs()
	if logs.Dir = w.id.scratch(); logs.Dir == "" {
		logs.Dir = os.TempDir()
	}
	w.logs = tasklog.New(logs)
}
