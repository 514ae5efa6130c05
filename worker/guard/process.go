//go:build linux

package guard

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/task"
)

// ErrKeeperLost says that the process that started a command ended before the command, which has
// been killed.
var ErrKeeperLost = errors.New("the process that watches over the command has ended before it, which only somebody on this machine can bring about")

// ErrNotStarted says that a command was certainly not started.
var ErrNotStarted = errors.New("the command was not started")

// Process is one command, as the agent sees it.
type Process struct {
	keeper *remoteKeeper
	id     uint64
	// done is closed when it has ended with all that it takes along, or did not start; the
	// fields below are set then.
	done   chan struct{}
	ending Ending
	err    error
}

// Ending is how a command has ended.
type Ending struct {
	Status syscall.WaitStatus
	// ByLease says that it was killed because the deadline of exclusive work has passed.
	ByLease bool
	Usage   task.Usage
}

// Done is closed when the command has ended with all that it takes along, or did not start.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ending waits for the end of the command and says how it was. An error is ErrKeeperLost,
// ErrNotStarted, or the errno of the system for a program that cannot be started.
func (p *Process) Ending() (Ending, error) {
	<-p.done
	return p.ending, p.err
}

// Signal signals the command's group, if it has not ended.
func (p *Process) Signal(signals ...unix.Signal) {
	var b []byte
	for _, s := range signals {
		b = append(b, numberFrame(frameSignal, p.id, uint64(s))...)
	}
	// Where the keeper is gone, the command is as well, or is being ended.
	_ = p.keeper.send(b, nil)
}

// Destroy ends the command, where its keeper does not, and the keeper.
func (p *Process) Destroy() { p.keeper.destroy() }
