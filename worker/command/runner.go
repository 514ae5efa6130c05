package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/guard"
)

// maxArguments is the most that arguments may have once payloads stand in them,
// bytes. The kernel allows a quarter of the stack, as a rule 2 MiB.
const maxArguments = 2 << 20

// startTries is how often a command is started that was not, as its working directory, which this
// agent has made, was removed in the moment before, or the process that was to start it has ended.
const startTries = 3

// runCommand runs a task as a program: in a process group of its own, with the
// payload on its standard input, and its standard output as the result.
func (w *Worker) runCommand(ctx context.Context, s *slot, r *run) result {
	request, stdin, err := commandRequest(r, w.cfg.Addrs)
	if err != nil {
		return result{kind: failedForGood, err: errorText(err.Error())}
	}
	own := request.Dir == ""
	if own {
		defer w.emptySlotDir(s)
	}
	for range startTries {
		if own {
			if request.Dir, err = w.slotDir(s); err != nil {
				break
			}
		}
		var res result
		s.usage = task.Usage{}
		if res, err = w.tryCommand(ctx, s, r, request, stdin); err == nil {
			res.usage = s.usage
			w.hint(&res)
			return res
		}
	}
	return w.giveBack(err)
}

// tryCommand starts a command, and returns how it ended. An error means that it was not started,
// for a reason that may have passed.
func (w *Worker) tryCommand(ctx context.Context, s *slot, r *run, request *guard.Request, stdin []byte) (result, error) {
	var err error
	if request.Stdout, err = openStdout(r, request.Dir); err != nil {
		if ownFault(err) {
			return w.giveBack(err), nil
		}
		// Another worker may have its folder.
		return result{kind: failed, err: errorText(err.Error())}, nil
	}
	io, err := newPipes(stdin, request)
	if err != nil {
		return w.giveBack(fmt.Errorf("make pipes for a command: %w", err)), nil
	}
	p, err := w.guard.Run(request)
	io.started(request)
	if err != nil {
		io.close()
		return result{}, fmt.Errorf("start a command: %w", err)
	}
	// The context may end at any time from here on, and may have ended before.
	unhook := context.AfterFunc(ctx, func() { w.terminate(ctx, r, p) })
	strict := r.work.command.GetStdout() == rotav1.Stdout_STDOUT_FULL
	out, tail := io.read(s, p, strict)
	stopped := !unhook()
	ending, err := p.Ending()
	s.usage = ending.Usage

	switch {
	case stopped && (err == nil || errors.Is(err, guard.ErrKeeperLost) || errors.Is(err, unix.ECANCELED)):
		res := endedBy(ctx)
		if res.stderr = tail; res.outcome == rotav1.Outcome_OUTCOME_FAILED {
			// Of one that was stopped nobody keeps it, so it is not sent.
			res.printed(out, tail)
		}
		return res, nil
	case ending.ByLease, errors.Is(err, unix.ECANCELED):
		return result{kind: kind{outcome: rotav1.Outcome_OUTCOME_STOPPED}, err: ErrLease.Error()}, nil
	case errors.Is(err, guard.ErrKeeperLost):
		return result{kind: kind{outcome: rotav1.Outcome_OUTCOME_LOST}, err: err.Error(), stderr: tail}, nil
	case ownFault(err):
		return w.giveBack(fmt.Errorf("start a command: %w", err)), nil
	case errors.Is(err, guard.ErrNotStarted):
		return result{}, fmt.Errorf("start a command: %w", err)
	case err != nil && request.Dir == s.dir.path && !s.dir.intact():
		return result{}, fmt.Errorf("start a command in %s: %w", request.Dir, err)
	case err != nil:
		return startFailure(request, r.work.command.GetCwd() == "", err), nil
	case strict && out.tooLarge():
		res := result{kind: failedForGood, err: fmt.Sprintf(
			"the standard output has more than %d bytes, the limit where all of it is to be kept: keep its ends only, or have it written to a file", task.MaxPayload)}
		res.printed(out, tail)
		return res, nil
	}
	return exitResult(ending, out, tail), nil
}

// exitResult judges a command that ended by itself.
func exitResult(e guard.Ending, out capture, tail []byte) result {
	res := result{kind: kind{outcome: rotav1.Outcome_OUTCOME_SUCCEEDED, hasExit: true}}
	res.printed(out, tail)
	switch {
	case e.Status.Signaled():
		// As shells do.
		res.exit = 128 + int32(e.Status.Signal())
		res.err = killedBy + signalName(e.Status.Signal())
	case e.Status.ExitStatus() != 0:
		res.exit = int32(e.Status.ExitStatus())
		res.err = fmt.Sprintf("exit code %d", res.exit)
	default:
		return res
	}
	res.outcome, res.reason = rotav1.Outcome_OUTCOME_FAILED, rotav1.Reason_REASON_EXIT_CODE
	return res
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

const (
	// killPatience is how long a keeper may take to end a command that it was told to kill.
	killPatience = 2 * time.Second
	// lastLine is how long after the moment at which exclusive work must be dead this agent ends it
	// itself, where neither its keeper nor the guard has. The lease ends a fifth of its length
	// behind that moment.
	lastLine = 250 * time.Millisecond
	// terminateTick is how often it is looked whether that has come.
	terminateTick = 50 * time.Millisecond
)

// terminate asks a command to end, kills it when it does not, and sees to it itself when those do
// not whose business that is.
func (w *Worker) terminate(ctx context.Context, r *run, p *guard.Process) {
	grace := stopGrace
	if r.work.exclusive && errors.Is(context.Cause(ctx), ErrDropped) {
		// Its next attempt may be under way: there is no time to ask.
		grace = 0
	} else {
		// Without the second one a stopped process would not notice the first.
		p.Signal(unix.SIGTERM, unix.SIGCONT)
	}
	tick := time.NewTicker(terminateTick)
	defer tick.Stop()
	for asked, killed := monoNow(), false; ; {
		waited := monoNow() - asked
		if !killed && waited >= grace {
			p.Signal(unix.SIGKILL)
			killed = true
		}
		if waited >= grace+killPatience || r.work.exclusive && bootNow() >= w.lease.after(killShare)+lastLine {
			w.log.Error("a command does not end: its processes are killed one by one", "task", task.ID{Job: r.task.Job, Index: r.task.Index})
			p.Destroy()
			return
		}
		select {
		case <-p.Done():
			return
		case <-tick.C:
		}
	}
}

// commandRequest is what to start for a task of the servers at addrs, and what to put on its standard input.
func commandRequest(r *run, addrs []string) (*guard.Request, []byte, error) {
	c := r.work.command
	argv, stdin := c.GetArgv(), r.task.Payload
	if len(argv) == 0 {
		return nil, nil, errors.New("the command is empty")
	}
	if c.GetPlaceholder() != "" {
		if bytes.IndexByte(stdin, 0) >= 0 {
			return nil, nil, errors.New("the payload contains a NUL byte, and so cannot be an argument: pass it on standard input, or split the input there with rota map --null")
		}
		var err error
		if argv, err = fillIn(argv, c.GetPlaceholder(), string(stdin)); err != nil {
			return nil, nil, err
		}
		stdin = nil
	}
	r.work.prepare(addrs)
	env := r.work.environment(&r.task)
	path, err := r.work.find(argv[0])
	if err != nil {
		return nil, nil, err
	}
	dir := c.GetCwd()
	if dir != "" {
		// A relative one counts from the agent's, as the guard has another.
		if dir, err = filepath.Abs(dir); err != nil {
			return nil, nil, fmt.Errorf("find the working directory: %w", err)
		}
	}
	return &guard.Request{
		Exclusive: r.work.exclusive, Path: path, Dir: dir, Argv: argv, Env: env,
		Stdin: -1, Stdout: -1, Stderr: -1,
	}, stdin, nil
}

func fillIn(argv []string, placeholder, payload string) ([]string, error) {
	out := make([]string, len(argv))
	size := 0
	for i, a := range argv {
		if n := strings.Count(a, placeholder); n > 0 && size+len(a)+n*len(payload) > maxArguments {
			return nil, fmt.Errorf("the arguments have more than %d bytes with the payload in them: pass it on standard input", maxArguments)
		}
		out[i] = strings.ReplaceAll(a, placeholder, payload)
		size += len(out[i])
	}
	return out, nil
}
