//go:build linux

package guard

import (
	"time"

	"golang.org/x/sys/unix"
)

// BootNow is the time since the machine was booted, with the time it was suspended.
// Leases are counted on it: the servers' clocks do not stop when a worker's lid is
// closed. Agent, guard and keepers read the same clock, so deadlines need no translation.
func BootNow() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		// The clock exists since Linux 2.6.39. Without it no lease can be kept, and
		// going on would break the promise that exclusive tasks rest on.
		panic("guard: CLOCK_BOOTTIME cannot be read: " + err.Error())
	}
	return time.Duration(ts.Nano())
}
