package child

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/rota-scheduler/rota/internal/process"
)

const (
	// readyLine is what a child of this program writes when it serves.
	readyLine = "ready"
	pollEvery = 10 * time.Millisecond
	stopAfter = 15 * time.Second
)

// Config is what a process is made of.
type Config struct {
	// Role is for the report and for the name of the log, Name for the log too where
	// several have the same role.
	Role, Name string
	// Dir gets the log.
	Dir  string
	Path string
	Args []string
	// User runs it as another user; nil: as this one.
	User *syscall.Credential
	// Ready is asked until it returns nil; nil: the process writes a line.
	Ready func(ctx context.Context) error
	// StopSignal asks it to end; 0: SIGTERM.
	StopSignal syscall.Signal
}

// Process is a child process. It can be started again after it has ended.
type Process struct {
	cfg  Config
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Self is the configuration of this program in another role, which gets cfg as JSON.
func Self(dir, role, name string, cfg any) (Config, error) {
	data, err := json.Marshal(cfg)
	if err != nil {
		return Config{}, fmt.Errorf("configure %s: %w", name, err)
	}
	return Config{Role: role, Name: name, Dir: dir, Path: "/proc/self/exe", Args: []string{"child", role, string(data)}}, nil
}

// StartSelf starts this program in another role.
func StartSelf(ctx context.Context, dir, role, name string, cfg any) (*Process, error) {
	c, err := Self(dir, role, name, cfg)
	if err != nil {
		return nil, err
	}
	return Start(ctx, c)
}

// Start starts a process and waits until it is ready.
func Start(ctx context.Context, cfg Config) (*Process, error) {
	if cfg.Name == "" {
		cfg.Name = cfg.Role
	}
	if cfg.StopSignal == 0 {
		cfg.StopSignal = syscall.SIGTERM
	}
	p := &Process{cfg: cfg}
	return p, p.Start(ctx)
}

// Start starts the process again, which must not run.
func (p *Process) Start(ctx context.Context) error {
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.cfg.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(p.cfg.Path, p.cfg.Args...)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.cfg.User}
	if p.cfg.User != nil {
		// A folder that the other user may not enter would be an error.
		cmd.Dir = "/"
	}
	var lines *os.File
	if p.cfg.Ready == nil {
		var write *os.File
		if lines, write, err = os.Pipe(); err != nil {
			return fmt.Errorf("start %s: %w", p.cfg.Name, err)
		}
		defer write.Close()
		cmd.Stdout = write
	} else {
		cmd.Stdout = log
	}
	if err := process.Start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", p.cfg.Name, err)
	}
	p.cmd, p.err, p.done = cmd, nil, make(chan struct{})
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := p.waitReady(ctx, lines); err != nil {
		p.Kill()
		return fmt.Errorf("wait for %s: %w", p.cfg.Name, err)
	}
	return nil
}

func (p *Process) waitReady(ctx context.Context, lines *os.File) error {
	ready := make(chan error, 1)
	if lines != nil {
		go func() {
			defer lines.Close()
			line, err := bufio.NewReader(lines).ReadString('\n')
			if err == nil && line != readyLine+"\n" {
				err = fmt.Errorf("it wrote %q", line)
			}
			ready <- err
			// Whatever it writes later must not block it.
			_, _ = io.Copy(io.Discard, lines)
		}()
	} else {
		go func() { ready <- Poll(ctx, func() error { return p.cfg.Ready(ctx) }) }()
	}
	select {
	case err := <-ready:
		if errors.Is(err, io.EOF) {
			<-p.done
			return p.ended()
		}
		return err
	case <-p.done:
		return p.ended()
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errEnded = errors.New("see its log")

// ErrPortTaken says that a process could not have a port that was free when it was chosen.
var ErrPortTaken = errors.New("a port is taken")

// inUse is how programs tell of it, in small letters.
var inUse = []byte("address already in use")

// ended is the error for a process that should be running and is not.
func (p *Process) ended() error {
	log, err := os.ReadFile(p.logPath())
	if err == nil && bytes.Contains(bytes.ToLower(log), inUse) {
		return fmt.Errorf("it ended: %w", errors.Join(p.err, ErrPortTaken, errEnded))
	}
	return fmt.Errorf("it ended: %w", errors.Join(p.err, errEnded))
}

func (p *Process) logPath() string { return filepath.Join(p.cfg.Dir, p.cfg.Name+".log") }

// Pid is the number of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Role is the role of the process.
func (p *Process) Role() string { return p.cfg.Role }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal to the process.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Kill kills the process and waits for its end. One that was never started has ended.
func (p *Process) Kill() {
	if p.done == nil {
		return
	}
	// One that has ended has nothing to kill.
	_ = p.Signal(syscall.SIGKILL)
	<-p.done
}

// Stop asks the process to end, and kills it where that takes too long.
func (p *Process) Stop(ctx context.Context) {
	// A process that is stopped would not notice the first.
	_, _ = p.Signal(p.cfg.StopSignal), p.Signal(syscall.SIGCONT)
	ctx, cancel := context.WithTimeout(ctx, stopAfter)
	defer cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		p.Kill()
	}
}

// StopAll stops processes side by side. Elements may be nil.
func StopAll(ctx context.Context, processes ...*Process) {
	var parts sync.WaitGroup
	for _, p := range processes {
		if p != nil && p.done != nil {
			parts.Go(func() { p.Stop(ctx) })
		}
	}
	parts.Wait()
}

// Poll calls f until it returns nil; when ctx ends before, its last error.
func Poll(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// Serve tells the parent that this process serves, and waits until it is asked to end.
func Serve(ctx context.Context) error {
	if _, err := fmt.Println(readyLine); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
