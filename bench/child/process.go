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
	// Role is for the report and for the name of the log. Name is for the log too, if several processes have the same
	// role.
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

// Process is a child process.
type Process struct {
	*process.Process
	cfg Config
	// write gets its standard output while it starts; nil: the log does.
	write *os.File
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
	p := &Process{cfg: cfg}
	p.Process = process.New(process.Config{
		Name: cfg.Name, Path: cfg.Path, Args: cfg.Args, LogFile: filepath.Join(cfg.Dir, cfg.Name+".log"),
		Prepare: p.prepare, StopSignal: cfg.StopSignal, StopTimeout: stopAfter,
	})
	return p, p.Start(ctx)
}

func (p *Process) prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.cfg.User}
	if p.cfg.User != nil {
		// A folder that the other user may not enter would be an error.
		cmd.Dir = "/"
	}
	if p.write != nil {
		cmd.Stdout = p.write
	}
}

// Start starts the process, which must not run, and waits until it is ready.
func (p *Process) Start(ctx context.Context) error {
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	ready := p.cfg.Ready
	if ready == nil {
		lines, write, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("start %s: %w", p.Name, err)
		}
		defer write.Close()
		p.write, ready = write, saysReady(lines, giveUp)
	}
	if err := p.Process.Start(); err != nil {
		return err
	}
	err := p.Await(ctx, p.Name, ready)
	if errors.Is(err, process.ErrEnded) && p.lacksPort() {
		err = errors.Join(ErrPortTaken, err)
	}
	if err != nil {
		p.Kill()
	}
	return err
}

// saysReady returns a condition: that a process has written that it is ready. It gives up on one that has
// written something else.
func saysReady(lines *os.File, giveUp func()) func(ctx context.Context) error {
	first := make(chan error, 1)
	go func() {
		defer lines.Close()
		line, err := bufio.NewReader(lines).ReadString('\n')
		if err == nil && line != readyLine+"\n" {
			err = fmt.Errorf("it wrote %q", line)
		}
		first <- err
		// Whatever it writes later must not block it.
		_, _ = io.Copy(io.Discard, lines)
	}()
	return func(ctx context.Context) error {
		select {
		case err := <-first:
			if err != nil && !errors.Is(err, io.EOF) {
				giveUp()
			}
			return err
		case <-ctx.Done():
			return errors.New("it has not said that it is ready")
		}
	}
}

// ErrPortTaken says that a process could not have a port that was free when it was chosen.
var ErrPortTaken = errors.New("a port is taken")

// inUse is how programs tell of it, in small letters.
var inUse = []byte("address already in use")

func (p *Process) lacksPort() bool {
	log, err := os.ReadFile(p.LogFile)
	return err == nil && bytes.Contains(bytes.ToLower(log), inUse)
}

// Role is the role of the process.
func (p *Process) Role() string { return p.cfg.Role }

// StopAll stops processes side by side. Elements may be nil.
func StopAll(ctx context.Context, processes ...*Process) {
	var parts sync.WaitGroup
	for _, p := range processes {
		if p != nil {
			// How it ends is of no interest any more.
			parts.Go(func() { _ = p.Stop(ctx) })
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
