package localcluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rota-scheduler/rota/internal/process"
)

// probeTimeout bounds one question whether a server is ready.
const probeTimeout = time.Second

// Process is a server or a worker. It can be started again after it has ended.
type Process struct {
	// Name is the node id of a server, or the name of a worker.
	Name string
	// Addr, PeerAddr and HTTPAddr are those of a server.
	Addr, PeerAddr, HTTPAddr string
	// LogFile gets what it writes.
	LogFile string

	binary string
	args   []string
	env    []string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// SetFlag sets the value of a flag that the process was given, for its next start.
func (p *Process) SetFlag(name, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	args := slices.Clone(p.args)
	if at := slices.Index(args, name); at >= 0 {
		args[at+1] = value
	}
	p.args = args
}

// SetBinary sets the program for its next start.
func (p *Process) SetBinary(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.binary = path
}

// Start starts the process. It must not run.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil && p.err == nil && !ended(p.done) {
		return fmt.Errorf("%s runs already", p.Name)
	}
	logFile, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.Name, err)
	}
	defer logFile.Close()
	cmd := exec.Command(p.binary, p.args...)
	cmd.Args[0] = "rota"
	// What is set here is for those who use the cluster, not for its processes.
	cmd.Env = append(process.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if err := process.Start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.cmd, p.err, p.done = cmd, nil, make(chan struct{})
	go p.wait(cmd, p.done)
	return nil
}

func (p *Process) wait(cmd *exec.Cmd, done chan struct{}) {
	err := cmd.Wait()
	p.mu.Lock()
	p.err = err
	p.mu.Unlock()
	close(done)
}

func ended(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// Done is closed when the process has ended; nil before its first start.
func (p *Process) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// Running says whether the process runs.
func (p *Process) Running() bool {
	done := p.Done()
	return done != nil && !ended(done)
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

// ExitCode is that with which the process ended; -1: it runs, or never ran, or a
// signal ended it.
func (p *Process) ExitCode() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || !ended(p.done) {
		return -1
	}
	return p.cmd.ProcessState.ExitCode()
}

// Signal sends a signal to the process, such as SIGSTOP and SIGCONT.
func (p *Process) Signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || ended(p.done) {
		return fmt.Errorf("%s does not run", p.Name)
	}
	return p.cmd.Process.Signal(s)
}

// Kill kills the process as the loss of its machine would, and waits for its end.
func (p *Process) Kill() {
	// One that has ended has nothing to kill.
	_ = p.Signal(syscall.SIGKILL)
	if done := p.Done(); done != nil {
		<-done
	}
}

// Stop ends the process in good order, and kills it where that takes too long.
func (p *Process) Stop(ctx context.Context) error {
	if !p.Running() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, DefaultStopTimeout)
	defer cancel()
	// A stopped process would not notice the signal.
	err := errors.Join(p.Signal(syscall.SIGTERM), p.Signal(syscall.SIGCONT))
	if err != nil && !p.Running() {
		return nil
	}
	select {
	case <-p.Done():
		return p.exitError()
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("%s did not end in time and was killed; its log is %s", p.Name, p.LogFile)
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

// ended is the error for a process that should be running and is not.
func (p *Process) ended() error {
	err := p.exitError()
	if err == nil {
		err = fmt.Errorf("%s has ended; its log is %s", p.Name, p.LogFile)
	}
	if last := tail(p.LogFile, 3); last != "" {
		err = fmt.Errorf("%w; it ends with:\n%s", err, last)
	}
	return err
}

// WaitReady waits until a server says that it is ready.
func (p *Process) WaitReady(ctx context.Context) error {
	last := "it does not answer"
	for {
		reason, err := p.Ready(ctx)
		if err == nil && reason == "" {
			return nil
		}
		if err == nil {
			last = reason
		}
		if !p.Running() {
			return p.ended()
		}
		if !sleep(ctx, pollEvery) {
			return fmt.Errorf("wait for server %s: %s: %w", p.Name, last, ctx.Err())
		}
	}
}

// Ready returns why the server is not ready; "": it is.
func (p *Process) Ready(ctx context.Context) (reason string, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.HTTPAddr+"/readyz", nil)
	if err != nil {
		return "", err
	}
	resp, err := probes.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return "", err
	}
	if resp.StatusCode == http.StatusOK {
		return "", nil
	}
	return strings.TrimSpace(string(body)), nil
}

// probes keeps no connections: those to a server that was killed would be errors.
var probes = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: probeTimeout}, Timeout: probeTimeout + time.Second}
