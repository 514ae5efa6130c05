//go:build !linux

package command

import (
	"context"

	"github.com/rota-scheduler/rota/worker/guard"
)

// Supported says whether commands can be run on this system.
const Supported = false

// Slot is what stays from one command to the next.
type Slot struct{ Number int }

// Runner refuses commands.
type Runner struct{}

// NewRunner makes a runner.
func NewRunner(Config) *Runner { return &Runner{} }

// Start returns guard.ErrUnsupported.
func (*Runner) Start() error { return guard.ErrUnsupported }

// Run refuses a command: a worker on Linux may run it.
func (*Runner) Run(context.Context, *Slot, *Task) (Result, error) {
	return Result{End: Failed, Err: guard.ErrUnsupported.Error()}, nil
}

// Probe returns guard.ErrUnsupported.
func (*Runner) Probe() error { return guard.ErrUnsupported }

// NoteKills does nothing.
func (*Runner) NoteKills() {}

// Close does nothing.
func (*Runner) Close() {}
