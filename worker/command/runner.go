//go:build linux

package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/guard"
)

// startTries is how often a command is started that was not, as its working directory, which this
// agent has made, was removed in the moment before, or the process that was to start it has ended.
const startTries = 3

// Supported says whether commands can be run on this system.
const Supported = true

// Slot is what stays from one command to the next. It runs one at a time.
type Slot struct {
	// Number tells it from others of the same worker.
	Number int
	// stdout is where outputs are read to.
	stdout []byte
	// dir is the working directory for commands that name none.
	dir folder
}

// Runner runs the commands of a worker.
type Runner struct {
	cfg     Config
	log     *slog.Logger
	guard   *guard.Client
	scratch *scratch
	kills   oomKills
}

// NewRunner makes a runner.
func NewRunner(cfg Config) *Runner {
	return &Runner{
		cfg: cfg, log: cfg.Logger, guard: cfg.Guard,
		scratch: &scratch{log: cfg.Logger, base: cfg.Scratch, made: cfg.Guard.RemoveAtEnd},
	}
}

// Start gets ready to run commands. From then on they cannot find out what this process knows.
func (r *Runner) Start() error {
	if err := keepSecrets(); err != nil {
		return err
	}
	r.kills.begin()
	if _, err := r.scratch.folder(); err != nil {
		return err
	}
	return r.guard.Start()
}

// NoteKills looks whether the kernel has killed processes for want of memory. It is to be called
// every now and then while commands run.
func (r *Runner) NoteKills() { r.kills.look() }

// Close removes the working directories. All commands must have ended.
func (r *Runner) Close() { r.scratch.remove() }

// Run runs a task as a program: in a process group of its own, with the payload on its standard
// input, and its standard output as the result. An error means that it was not started, for a
// reason that is this worker's own and not the task's.
func (r *Runner) Run(ctx context.Context, s *Slot, t *Task) (Result, error) {
	request, stdin, err := r.request(t)
	if err != nil {
		return Result{End: FailedForGood, Err: err.Error()}, nil
	}
	own := request.Dir == ""
	if own {
		defer r.emptySlotDir(s)
	}
	for range startTries {
		if own {
			if request.Dir, err = r.slotDir(s); err != nil {
				break
			}
		}
		var res Result
		var again bool
		if res, again, err = r.try(ctx, s, t, request, stdin); !again {
			return res, err
		}
	}
	return Result{}, err
}

// try starts a command, and returns how it ended. An error means that it was not started; again,
// that the reason may have passed.
func (r *Runner) try(ctx context.Context, s *Slot, t *Task, request *guard.Request, stdin []byte) (res Result, again bool, err error) {
	if request.Stdout, err = openStdout(t, request.Dir); err != nil {
		if ownFault(err) {
			return Result{}, false, err
		}
		// Another worker may have its folder.
		return Result{End: Failed, Err: err.Error()}, false, nil
	}
	io, err := newPipes(stdin, request, t.Log)
	if err != nil {
		return Result{}, false, fmt.Errorf("make pipes for a command: %w", err)
	}
	p, err := r.guard.Run(request)
	io.started(request)
	if err != nil {
		io.close()
		return Result{}, true, fmt.Errorf("start a command: %w", err)
	}
	// The context may end at any time from here on, and may have ended before.
	unhook := context.AfterFunc(ctx, func() { r.terminate(ctx, t, p) })
	strict := t.Work.Spec.Stdout == task.StdoutFull
	out, tail := io.read(s, p, strict)
	stopped := !unhook()
	ending, err := p.Ending()
	res = Result{Usage: ending.Usage}
	res.Stderr, res.StderrMissing = tail.bytes()

	switch {
	case stopped && (err == nil || errors.Is(err, guard.ErrKeeperLost) || errors.Is(err, unix.ECANCELED)):
		res.End = Stopped
		res.keep(out)
	case ending.ByLease, errors.Is(err, unix.ECANCELED):
		return Result{End: Expired, Usage: ending.Usage}, false, nil
	case errors.Is(err, guard.ErrKeeperLost):
		res.End, res.Err = Lost, err.Error()
	case ownFault(err):
		return Result{}, false, fmt.Errorf("start a command: %w", err)
	case errors.Is(err, guard.ErrNotStarted):
		return Result{}, true, fmt.Errorf("start a command: %w", err)
	case err != nil && request.Dir == s.dir.path && !s.dir.intact():
		return Result{}, true, fmt.Errorf("start a command in %s: %w", request.Dir, err)
	case err != nil:
		return startFailure(request, t.Work.Spec.Cwd == "", err), false, nil
	case strict && out.tooLarge():
		res.End, res.Err = FailedForGood, fmt.Sprintf(
			"the standard output has more than %d bytes, the limit where all of it is to be kept: keep its ends only, or have it written to a file", task.MaxPayload)
		res.keep(out)
	default:
		res.keep(out)
		res.exited(ending.Status)
		r.explainKill(&res)
	}
	return res, false, nil
}

// keep puts in what a command has printed.
func (r *Result) keep(out capture) {
	r.Output = out.b
	if out.missing > 0 {
		r.Missing, r.Head = out.missing, uint32(out.head)
	}
}

// exited judges a command that ended by itself.
func (r *Result) exited(status syscall.WaitStatus) {
	switch {
	case status.Signaled():
		// As shells do.
		r.Exit = 128 + int32(status.Signal())
		r.Err = killedBy + signalName(status.Signal())
	case status.ExitStatus() != 0:
		r.Exit = int32(status.ExitStatus())
		r.Err = fmt.Sprintf("exit code %d", r.Exit)
	}
}

// signalName is the name of a signal; real-time signals have numbers only.
func signalName(s unix.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return strconv.Itoa(int(s))
}

// ownFault says whether an error is the agent's, or its machine's, and would be the same for any
// command.
func ownFault(err error) bool {
	for _, own := range []error{unix.EAGAIN, unix.ENOMEM, unix.ENFILE, unix.EMFILE, unix.ENOBUFS} {
		if errors.Is(err, own) {
			return true
		}
	}
	return false
}
