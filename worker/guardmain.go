package worker

import (
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// guardEnv marks a process as a guard. No command can have it in its environment.
const guardEnv = "ROTA_WORKER_GUARD"

// guardThreads is the threads of a guard that may wait at once, and some to spare.
const guardThreads = 8

// guardSocket is the file through which a guard hears of its agent. Behind it stands
// the lock of the data folder, if there is one: the guard only has to hold it.
const guardSocket = 3

// A guard is this binary, whichever it is, executed again. It is caught here, before
// the program's main, so that every program that embeds a worker can be one.
func init() {
	if os.Getenv(guardEnv) == "" {
		return
	}
	// Commands are tied to the life of the thread that starts them, so it must be
	// one that lives as long as the guard: the main thread.
	runtime.LockOSThread()
	// Most of its threads wait in the kernel. With a processor for each of them the
	// runtime has none to pass around, which costs more than the work itself.
	runtime.GOMAXPROCS(guardThreads)
	os.Exit(guardMain())
}

func guardMain() int {
	if _, err := unix.GetsockoptInt(guardSocket, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		fmt.Fprintf(os.Stderr, "%s is for a worker's own use: unset it\n", guardEnv)
		return 2
	}
	// No command may inherit the socket or the lock, nor what the agent's own parent
	// has left open by mistake.
	closeOnExec()
	// Caught, not ignored: commands would inherit that a signal is ignored.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	// What a command leaves behind becomes the guard's child, so that the guard
	// learns when it has ended, and no process is left unreaped.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintf(os.Stderr, "rota guard: become the parent of orphans: %v\n", err)
		return 1
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		fmt.Fprintf(os.Stderr, "rota guard: open /dev/null: %v\n", err)
		return 1
	}
	g := &guardProcess{
		agent: os.Getppid(), null: null,
		groups: map[uint64]*procGroup{}, byLeader: map[int]*procGroup{},
		forked: make(chan struct{}, 1), look: make(chan struct{}, 1), behind: make(chan struct{}, 1),
	}
	if len(os.Args) > 1 {
		g.scratch = os.Args[1]
	}
	go g.flush()
	go g.reap()
	go g.enforce()
	g.read()
	return 0
}

// closeOnExec marks all files but the standard ones.
func closeOnExec() {
	if unix.CloseRange(guardSocket, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	// Linux before 5.11.
	unix.CloseOnExec(guardSocket)
	unix.CloseOnExec(guardSocket + 1)
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= guardSocket {
			unix.CloseOnExec(fd)
		}
	}
}
