//go:build linux

package command

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/guard"
)

const (
	// killPatience is how long a keeper may take to end a command that it was told to kill.
	killPatience = 2 * time.Second
	// lastLine is how long after the moment at which exclusive work must be dead this agent ends it
	// itself, where neither its keeper nor the guard has. The lease ends a fifth of its length
	// behind that moment.
	lastLine = 250 * time.Millisecond
	// terminateTick is how often to check whether that moment has come.
	terminateTick = 50 * time.Millisecond
)

// terminate asks a command to end, kills it when it does not, and sees to it itself when those do
// not whose business that is.
func (r *Runner) terminate(ctx context.Context, t *Task, p *guard.Process) {
	grace := r.cfg.Grace(t, context.Cause(ctx))
	if grace > 0 {
		// Without the second one a stopped process would not notice the first.
		p.Signal(unix.SIGTERM, unix.SIGCONT)
	}
	tick := time.NewTicker(terminateTick)
	defer tick.Stop()
	for asked, killed := time.Now(), false; ; {
		waited := time.Since(asked)
		if !killed && waited >= grace {
			p.Signal(unix.SIGKILL)
			killed = true
		}
		if waited >= grace+killPatience || t.Exclusive && guard.BootNow() >= r.cfg.Deadline()+lastLine {
			r.log.Error("a command does not end: its processes are killed one by one", "task", task.ID{Job: t.Job, Index: t.Index})
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
