package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pollEvery is how often Await looks at its condition.
	pollEvery = 20 * time.Millisecond
	// tailBytes is how much of the end of its log Tail returns: a few lines.
	tailBytes = 600
	// stopTimeout is how long a process may take to end in good order, if its configuration does not say.
	stopTimeout = 30 * time.Second
)

var (
	// ErrEnded says that a process that should run has ended, or never ran.
	ErrEnded = errors.New("does not run")
	// ErrKilled says that a process was asked to end, did not, and was killed.
	ErrKilled = errors.New("did not end in time and was killed")
)

// Config is what a process is made of.
type Config struct {
	// Name is for messages.
	Name string
	// Path is the program, Args its arguments.
	Path string
	Args []string
	// Env is its environment; nil: that of this process.
	Env []string
	// LogFile gets what it writes, behind what is there.
	LogFile string
	// Prepare changes the command of each start; nil: it stays.
	Prepare func(cmd *exec.Cmd)
	// In calls start within something, such as a network namespace (StartIn); nil: here.
	In func(start func() error) error
	// OnExit is told of an end that neither Kill nor Stop has asked for, before Done is closed. nil: nobody is.
	OnExit func(code int)
	// StopSignal asks it to end; 0: SIGTERM. StopTimeout is how long it may take then; 0: 30 s.
	StopSignal  syscall.Signal
	StopTimeout time.Duration
}

// Process is a program that is run. It can be started again after it has ended. Its methods may be called side by
// side.
type Process struct {
	// Name and LogFile are those of the configuration. They do not change.
	Name, LogFile string

	mu  sync.Mutex
	cfg Config
	cmd *exec.Cmd
	// done is closed when cmd has ended, with err.
	done chan struct{}
	err  error
	// asked says that it may end: somebody has asked it to.
	asked bool
}

// New returns a process that does not run yet.
func New(cfg Config) *Process {
	cfg.StopSignal = cmp.Or(cfg.StopSignal, syscall.SIGTERM)
	cfg.StopTimeout = cmp.Or(cfg.StopTimeout, stopTimeout)
	return &Process{Name: cfg.Name, LogFile: cfg.LogFile, cfg: cfg}
}

// AddArgs adds arguments for its next start.
func (p *Process) AddArgs(args ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cfg.Args = slices.Concat(p.cfg.Args, args)
}

// SetFlag sets the value of a flag that the process was given, for its next start.
func (p *Process) SetFlag(name, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	args := slices.Clone(p.cfg.Args)
	if at := slices.Index(args, name); at >= 0 {
		args[at+1] = value
	}
	p.cfg.Args = args
}

// SetBinary sets the program for its next start.
func (p *Process) SetBinary(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cfg.Path = path
}

// Start starts the process, which must not run.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		return fmt.Errorf("%s runs already", p.Name)
	}
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(p.cfg.Path, p.cfg.Args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.cfg.Env, log, log
	if p.cfg.Prepare != nil {
		p.cfg.Prepare(cmd)
	}
	if p.cfg.In != nil {
		err = StartIn(cmd, p.cfg.In)
	} else {
		err = Start(cmd)
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.cmd, p.done, p.err, p.asked = cmd, make(chan struct{}), nil, false
	go p.watch(cmd, p.done)
	return nil
}

// watch waits for the end of a command.
func (p *Process) watch(cmd *exec.Cmd, done chan struct{}) {
	err := cmd.Wait()
	p.mu.Lock()
	p.err = err
	asked := p.asked
	p.mu.Unlock()
	if !asked && p.cfg.OnExit != nil {
		p.cfg.OnExit(cmd.ProcessState.ExitCode())
	}
	close(done)
}

// running is Running with the lock held.
func (p *Process) running() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Running says whether the process runs, or is paused.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running()
}

// Done is closed when the process has ended; nil before its first start.
func (p *Process) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// Pid is the number of the process, or of the one that ran last; 0: it never ran.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// ExitCode is that with which the process ended; -1: it runs, or never ran, or a signal ended it.
func (p *Process) ExitCode() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.running() {
		return -1
	}
	return p.cmd.ProcessState.ExitCode()
}

// Signal sends a signal to the process.
func (p *Process) Signal(s syscall.Signal) error { return p.signal(s, false) }

// signal is Signal. asked says that the process may end by it.
func (p *Process) signal(s syscall.Signal, asked bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return fmt.Errorf("%s %w", p.Name, ErrEnded)
	}
	p.asked = p.asked || asked
	err := p.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		// Done is about to be closed.
		return fmt.Errorf("%s %w", p.Name, ErrEnded)
	}
	return err
}

// Pause stops the process where it is.
func (p *Process) Pause() error { return p.Signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }

// LimitMemory bounds the private memory of the running process, bytes. The kernel refuses it more, which ends a
// Go program, as a machine would that has no more.
func (p *Process) LimitMemory(bytes uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return fmt.Errorf("%s %w", p.Name, ErrEnded)
	}
	limit := unix.Rlimit{Cur: bytes, Max: bytes}
	return unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_DATA, &limit, nil)
}

// Kill kills the process as the loss of its machine would, and waits for its end.
func (p *Process) Kill() {
	// One that has ended has nothing to kill.
	_ = p.signal(syscall.SIGKILL, true)
	if done := p.Done(); done != nil {
		<-done
	}
}

// Stop asks the process to end, and kills it if it takes too long or ctx ends (ErrKilled). An exit code other
// than 0 is an error, too. One that does not run is stopped.
func (p *Process) Stop(ctx context.Context) error {
	switch err := p.signal(p.cfg.StopSignal, true); {
	case errors.Is(err, ErrEnded):
		return p.WaitEnd(ctx)
	case err != nil:
		return err
	}
	// A paused process would not notice. It may have ended by now.
	_ = p.Resume()
	ctx, cancel := context.WithTimeout(ctx, p.cfg.StopTimeout)
	defer cancel()
	if p.WaitEnd(ctx) != nil {
		p.Kill()
		return fmt.Errorf("%s %w; its log is %s", p.Name, ErrKilled, p.LogFile)
	}
	return p.exitError()
}

// WaitEnd waits until the process has ended. One that never ran has ended.
func (p *Process) WaitEnd(ctx context.Context) error {
	done := p.Done()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of %s: %w", p.Name, ctx.Err())
	}
}

// Await looks at a condition until it holds, the process has ended, or ctx ends. The condition returns why it does
// not hold yet, and gives up when the context that it gets ends.
func (p *Process) Await(ctx context.Context, what string, holds func(ctx context.Context) error) error {
	if !p.Running() {
		return fmt.Errorf("wait for %s: %w", what, p.Ended())
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.Done():
			cancel()
		case <-running.Done():
		}
	}()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	var last error
	for {
		err := holds(running)
		if err == nil {
			return nil
		}
		if running.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-poll.C:
			continue
		case <-running.Done():
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for %s: %w (%w)", what, last, ctx.Err())
		}
		return fmt.Errorf("wait for %s: %w", what, p.Ended())
	}
}

// exitError is how the process ended; nil: with exit code 0.
func (p *Process) exitError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("%s ended with %w; its log is %s", p.Name, p.err, p.LogFile)
}

// Ended is the error for a process that should run and does not (ErrEnded), with the end of its log.
func (p *Process) Ended() error {
	p.mu.Lock()
	how := "ended without an error"
	if p.cmd == nil {
		how = "was never started"
	} else if p.err != nil {
		how = "ended with " + p.err.Error()
	}
	p.mu.Unlock()
	err := fmt.Errorf("%s %w, it %s; its log is %s", p.Name, ErrEnded, how, p.LogFile)
	tail := p.Tail()
	if len(tail) == tailBytes {
		// It begins within a line.
		_, tail, _ = strings.Cut(tail, "\n")
	}
	if tail = strings.TrimSpace(tail); tail != "" {
		err = fmt.Errorf("%w; it ends with:\n%s", err, tail)
	}
	return err
}

// Tail returns the end of the log, for messages.
func (p *Process) Tail() string {
	log, err := os.Open(p.LogFile)
	if err != nil {
		return ""
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return ""
	}
	from := max(0, info.Size()-tailBytes)
	// What can be read is better than nothing.
	end, _ := io.ReadAll(io.NewSectionReader(log, from, tailBytes))
	return string(end)
}
