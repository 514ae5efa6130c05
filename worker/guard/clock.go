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

const (
	// enforceTick is how often deadlines are looked at while there is exclusive work.
	// A timer to the deadline would stand still while the machine is suspended.
	enforceTick = 50 * time.Millisecond
	// dyingTick is how often what is to end is looked at. Most ends are noticed as they happen.
	dyingTick = 5 * time.Millisecond
	// manyLooks is after how many looks in a row something that was killed counts as stubborn: it
	// hangs in the kernel, as on a file system that does not answer, or has become another user's.
	// From then on it is looked at every stubbornTick, since a look goes through all processes.
	manyLooks    = 200
	stubbornTick = 250 * time.Millisecond
	// thoroughEvery is every how many looks processes are searched one by one: a
	// group may last as a dead process that a parent outside of it does not reap.
	thoroughEvery = 20
)

// DyingPause is the wait before the next look at what is to end, after so many in a row. That it
// has ended is heard of between the looks.
func DyingPause(looks int) time.Duration {
	if looks < manyLooks {
		return dyingTick
	}
	return stubbornTick
}

// left is how long exclusive work may live on, where it must be dead at deadline.
func left(deadline time.Duration) time.Duration { return deadline - BootNow() }
