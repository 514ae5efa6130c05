package harness

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Pin limits this process, and all that it will start, to a number of the CPUs that it may use. For that it starts
// the program again, unless it has no more CPUs anyway: only a new start makes all threads, and Go's idea of how
// many CPUs there are, agree.
func Pin(cores int) error {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return fmt.Errorf("read which CPUs this process may use: %w", err)
	}
	if may.Count() == cores {
		return nil
	}
	set, err := firstCPUs(may, cores)
	if err != nil {
		return err
	}
	// The thread that executes the program is the only one that is left of this process,
	// and threads inherit their CPUs.
	runtime.LockOSThread()
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("use %d CPUs only: %w", cores, err)
	}
	return fmt.Errorf("begin anew on %d CPUs: %w", cores, syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}

// firstCPUs is the first so many CPUs of a set.
func firstCPUs(of unix.CPUSet, cores int) (set unix.CPUSet, err error) {
	if n := of.Count(); cores < 1 || cores > n {
		return set, fmt.Errorf("--cores %d is out of range: this process may use 1 to %d", cores, n)
	}
	for cpu := 0; set.Count() < cores; cpu++ {
		if of.IsSet(cpu) {
			set.Set(cpu)
		}
	}
	return set, nil
}
