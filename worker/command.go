package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// maxArguments is the most that arguments may have once payloads stand in them,
// bytes. The kernel allows a quarter of the stack, as a rule 2 MiB.
const maxArguments = 2 << 20

// runCommand runs a task as a program: in a process group of its own, with the
// payload on its standard input, and its standard output as the result.
func (w *Worker) runCommand(ctx context.Context, s *slot, r *run) result {
	request, stdin, err := commandRequest(r)
	if err != nil {
		return result{kind: failedForGood, err: errorText(err.Error())}
	}
	if request.dir == "" {
		if request.dir, err = w.slotDir(s); err != nil {
			return result{kind: failed, err: errorText(err.Error())}
		}
		defer w.emptySlotDir(s)
	}
	io, err := newPipes(stdin, request)
	if err != nil {
		return result{kind: failed, err: errorText("make pipes for the command: " + err.Error())}
	}
	p := &proc{}
	err = w.guardian.run(request, p)
	io.started(request)
	if err != nil {
		io.close()
		return result{kind: failed, err: errorText("start the command: " + err.Error())}
	}
	// The context may end at any time from here on, and may have ended before.
	unhook := context.AfterFunc(ctx, func() { terminate(ctx, r, p) })
	output, tooMuch, tail := io.read(s, p)
	stopped := !unhook()

	switch err := p.err; {
	case errors.Is(err, errGuardLost):
		return result{kind: kind{outcome: rotav1.Outcome_OUTCOME_STOPPED}, err: errGuardLost.Error()}
	case err != nil && !stopped && !errors.Is(err, unix.ECANCELED):
		return startFailure(request, err)
	case p.ending.byLease, errors.Is(err, unix.ECANCELED) && !stopped:
		return result{kind: kind{outcome: rotav1.Outcome_OUTCOME_STOPPED}, err: ErrLease.Error()}
	case stopped:
		res := endedBy(ctx)
		res.stderr = tail
		return res
	case tooMuch:
		return result{kind: failedForGood, stderr: tail, err: fmt.Sprintf(
			"the standard output has more than %d bytes; put larger results where others can read them", task.MaxPayload)}
	}
	return exitResult(p.ending, output, tail)
}

// exitResult judges a command that ended by itself.
func exitResult(e ending, output, tail []byte) result {
	res := result{kind: kind{outcome: rotav1.Outcome_OUTCOME_SUCCEEDED, hasExit: true}, output: output}
	switch {
	case e.status.Signaled():
		// As shells do.
		res.exit = 128 + int32(e.status.Signal())
		res.err = "killed by signal " + unix.SignalName(e.status.Signal())
	case e.status.ExitStatus() != 0:
		res.exit = int32(e.status.ExitStatus())
		res.err = fmt.Sprintf("exit code %d", res.exit)
	default:
		return res
	}
	res.outcome, res.reason = rotav1.Outcome_OUTCOME_FAILED, rotav1.Reason_REASON_EXIT_CODE
	res.stderr = tail
	return res
}

// startFailure explains why a command did not start. A lack of memory or processes
// passes; a program that is not there, or is none, stays so.
func startFailure(r *startRequest, err error) result {
	if info, statErr := os.Stat(r.dir); statErr != nil || !info.IsDir() {
		return result{kind: failed, err: errorText(fmt.Sprintf("the working directory %q is not there on this worker", r.dir))}
	}
	k := failedForGood
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ETXTBSY) {
		k = failed
	}
	return result{kind: k, err: errorText(fmt.Sprintf("start %q: %v", r.path, err))}
}

// terminate asks a command to end, and kills it when it does not.
func terminate(ctx context.Context, r *run, p *proc) {
	if r.work.exclusive && errors.Is(context.Cause(ctx), ErrDropped) {
		// Its next attempt may be under way: there is no time to ask.
		p.signal(unix.SIGKILL)
		return
	}
	// Without the second one a stopped process would not notice the first.
	p.signal(unix.SIGTERM, unix.SIGCONT)
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-p.done:
	case <-grace.C:
		p.signal(unix.SIGKILL)
	}
}

// commandRequest is what to start for a task, and what to put on its standard input.
func commandRequest(r *run) (*startRequest, []byte, error) {
	c := r.work.command
	argv, stdin := c.GetArgv(), r.task.Payload
	if len(argv) == 0 {
		return nil, nil, errors.New("the command is empty")
	}
	if c.GetPlaceholder() != "" {
		if bytes.IndexByte(stdin, 0) >= 0 {
			return nil, nil, errors.New("the payload contains a NUL byte, and so cannot be an argument: pass it on standard input")
		}
		var err error
		if argv, err = fillIn(argv, c.GetPlaceholder(), string(stdin)); err != nil {
			return nil, nil, err
		}
		stdin = nil
	}
	r.work.prepare()
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
	return &startRequest{
		exclusive: r.work.exclusive, path: path, dir: dir, argv: argv, env: env,
		stdin: -1, stdout: -1, stderr: -1,
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
