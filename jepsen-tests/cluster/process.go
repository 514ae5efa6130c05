package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/internal/process"
	"github.com/rota-scheduler/rota/jepsen-tests/clock"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
)

// stopTimeout is how long a process may take to end in good order.
const stopTimeout = 15 * time.Second

// Process is a server or a worker, which can be started again after it has ended.
type Process struct {
	Name string
	Host *network.Host
	// LogFile gets what it writes.
	LogFile string
	// Clock is its wall clock; nil: this machine's.
	Clock *clock.Skew

	binary string
	args   []string
	env    []string
	// onExit is told that the process ended though nobody asked it to.
	onExit func(p *Process, code int)

	mu     sync.Mutex
	cmd    *exec.Cmd
	done   chan struct{}
	asked  bool
	paused bool
}

// Start starts the process. It must not run.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runningLocked() {
		return fmt.Errorf("%s runs already", p.Name)
	}
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(p.binary, p.args...)
	cmd.Env = append(process.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := process.StartIn(cmd, p.Host.Do); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.cmd, p.done, p.asked, p.paused = cmd, make(chan struct{}), false, false
	go p.wait(cmd, p.done)
	return nil
}

// set changes the value of a flag for the next start.
func (p *Process) set(flag, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.args = append([]string(nil), p.args...)
	p.args[slices.Index(p.args, flag)+1] = value
}

func (p *Process) wait(cmd *exec.Cmd, done chan struct{}) {
	// The exit code says all that the error does.
	_ = cmd.Wait()
	p.mu.Lock()
	asked := p.asked
	p.mu.Unlock()
	if !asked {
		p.onExit(p, cmd.ProcessState.ExitCode())
	}
	close(done)
}

func (p *Process) runningLocked() bool {
	if p.cmd == nil {
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
	return p.runningLocked()
}

// signal sends a signal. asked says that the process may end by it.
func (p *Process) signal(s syscall.Signal, asked bool) (done <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.runningLocked() {
		return p.done, fmt.Errorf("%s does not run", p.Name)
	}
	p.asked = p.asked || asked
	return p.done, p.cmd.Process.Signal(s)
}

// Kill kills the process and waits for its end.
func (p *Process) Kill() {
	// One that has ended has nothing to kill.
	if done, _ := p.signal(syscall.SIGKILL, true); done != nil {
		<-done
	}
}

// WaitEnd waits until the process has ended by itself.
func (p *Process) WaitEnd(ctx context.Context) error {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
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

// LimitMemory bounds the private memory of the process, bytes. What passes it ends the process, as
// a machine would that has no more.
func (p *Process) LimitMemory(bytes uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.runningLocked() {
		return fmt.Errorf("%s does not run", p.Name)
	}
	limit := unix.Rlimit{Cur: bytes, Max: bytes}
	return unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_DATA, &limit, nil)
}

// Pause stops the process where it is.
func (p *Process) Pause() error {
	_, err := p.signal(syscall.SIGSTOP, false)
	return err
}

// Resume lets a paused process go on.
func (p *Process) Resume() error {
	_, err := p.signal(syscall.SIGCONT, false)
	return err
}

// Stop ends the process in good order, and kills it where that takes too long.
func (p *Process) Stop(ctx context.Context) error {
	done, err := p.signal(syscall.SIGTERM, true)
	if err != nil {
		return nil // it does not run
	}
	// A paused process would not notice.
	if err := p.Resume(); err != nil && p.Running() {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("%s did not end in time and was killed", p.Name)
	}
}

// maxAlarms bounds the lines that are told of one log.
const maxAlarms = 5

// Alarms counts the lines of the log and returns those that no log may have.
func (p *Process) Alarms() (lines int, alarms []string, err error) {
	file, err := os.Open(p.LogFile)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	defer file.Close()
	in := bufio.NewScanner(file)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		lines++
		line := in.Text()
		for _, bad := range []string{"panic: ", "fatal error: ", "WARNING: DATA RACE"} {
			if strings.Contains(line, bad) && len(alarms) < maxAlarms {
				alarms = append(alarms, line)
			}
		}
	}
	return lines, alarms, in.Err()
}

// Tail returns the end of the log, for messages.
func (p *Process) Tail() string {
	const length = 600
	data, err := os.ReadFile(p.LogFile)
	if err != nil {
		return ""
	}
	return string(data[max(0, len(data)-length):])
}
