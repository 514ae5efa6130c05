package process

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// starter starts processes on one thread, which lives as long as this process: the kernel ties a child's life to
// the thread that has started it, not to the process.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// Start starts a program that ends with this process.
func Start(cmd *exec.Cmd) error {
	return StartIn(cmd, func(start func() error) error { return start() })
}

// StartIn is Start from within in, such as a network namespace. in calls start on the thread that it
// is called on: the program ends with that thread.
func StartIn(cmd *exec.Cmd, in func(start func() error) error) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	started := make(chan error, 1)
	starter() <- func() { started <- in(cmd.Start) }
	return <-started
}

// Environ is the environment without what is set for those who use a cluster.
func Environ() []string {
	var out []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "ROTA_") {
			out = append(out, e)
		}
	}
	return out
}
