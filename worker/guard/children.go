//go:build linux

package guard

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childInfo is the kernel's siginfo_t as waitid fills it in, on 64-bit systems.
type childInfo struct {
	_    [2]int32
	code int32
	_    int32
	pid  int32
	_    [108]byte
}

// cldStopped is the code of a child that a signal has stopped.
const cldStopped = 5

// waitAny waits for a child to end, or for what else options ask for, and returns its number
// without reaping it: until it is reaped, neither its number nor that of its group can become
// another's.
func waitAny(options int) (pid int, code int32, err error) {
	var info childInfo
	err = unix.Waitid(unix.P_ALL, 0, (*unix.Siginfo)(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOWAIT|options, nil)
	return int(info.pid), info.code, err
}

// hasChildren says whether this process has any child, dead ones that are not reaped among them.
// Without one, nothing lives that descends from it: orphans become its children.
func hasChildren() bool {
	for {
		_, _, err := waitAny(unix.WNOHANG)
		if !errors.Is(err, unix.EINTR) {
			return !errors.Is(err, unix.ECHILD)
		}
	}
}

// reapOne reaps a child that has ended. used is what it has used, with all that it has waited for.
func reapOne(pid int) (status syscall.WaitStatus, used syscall.Rusage) {
	for {
		if _, err := syscall.Wait4(pid, &status, 0, &used); !errors.Is(err, syscall.EINTR) {
			return status, used
		}
	}
}
