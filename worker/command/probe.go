//go:build linux

package command

import (
	"errors"
	"fmt"
	"time"

	"github.com/rota-scheduler/rota/worker/guard"
)

// probeTimeout is how long a probe may take.
const probeTimeout = 5 * time.Second

// Probe starts a command that does nothing, in all the ways that a task's is.
func (r *Runner) Probe() error {
	dir, err := r.scratch.subfolder("probe-")
	if err != nil {
		return err
	}
	defer func() { _ = guard.RemoveAll(dir.path) }()
	request := &guard.Request{Dir: dir.path, Stdin: -1, Stdout: -1, Stderr: -1}
	request.Path, request.Argv, request.Env = guard.Probe()
	io, err := newPipes(nil, request, nil)
	if err != nil {
		return fmt.Errorf("make pipes for a command: %w", err)
	}
	defer io.close()
	p, err := r.guard.Run(request)
	io.started(request)
	if err != nil {
		return fmt.Errorf("start a command: %w", err)
	}
	timeout := time.NewTimer(probeTimeout)
	defer timeout.Stop()
	select {
	case <-p.Done():
	case <-timeout.C:
		p.Destroy()
		return errors.New("a command that does nothing does not end")
	}
	ending, err := p.Ending()
	if err != nil {
		return fmt.Errorf("start a command: %w", err)
	}
	if ending.Status != 0 {
		return fmt.Errorf("a command that does nothing ended with status %#x", int(ending.Status))
	}
	return nil
}
