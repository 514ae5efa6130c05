//go:build linux

package guard

import (
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"
)

// Env marks a process as a guard or a keeper: its value says which. No command can have it in
// its environment.
const Env = "ROTA_WORKER_GUARD"

// What a process of this package can be.
const (
	roleGuard  = "guard"
	roleKeeper = "keeper"
	// roleProbe ends at once: what starts and ends like any command shows that commands can.
	roleProbe = "probe"
)

const (
	// processors is the threads of one of these processes that may wait at once, and some to
	// spare. Most wait in the kernel. With a processor for each of them the runtime has none to
	// pass around, which costs more than the work itself.
	processors = 4
	// gcPercent keeps the heap of each keeper below 1 MiB: there are as many as slots, they live
	// long, and hold next to nothing.
	gcPercent = 20
)

// tuning is what these processes take of the agent's environment: what Go's runtime asks for,
// and nothing else.
var tuning = []string{"GODEBUG", "GORACE", "GOTRACEBACK", "GOCOVERDIR"}

// bareEnv is the environment of a process of this package. The agent's own may hold secrets, and
// a command can read that of every process above it.
func bareEnv(role string) []string {
	env := []string{Env + "=" + role}
	for _, name := range tuning {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// These processes are this binary, whichever it is, executed again. They are caught here, before
// the program's main, so that every program that embeds a worker can be one. Packages are
// initialised in the order of their paths as soon as what they import is, so those of gRPC and
// Protobuf come behind this one, and are spared.
func init() {
	role := os.Getenv(Env)
	if role == "" {
		return
	}
	// Commands are tied to the life of the thread that starts them, so it must be
	// one that lives as long as its process: the main thread.
	runtime.LockOSThread()
	os.Exit(run(role))
}

func run(role string) int {
	if role == roleProbe {
		return 0
	}
	if _, err := unix.GetsockoptInt(socketFile, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		fmt.Fprintf(os.Stderr, "%s is for a worker's own use: unset it\n", Env)
		return 2
	}
	runtime.GOMAXPROCS(processors)
	debug.SetGCPercent(gcPercent)
	if err := settle(); err != nil {
		fmt.Fprintln(os.Stderr, "rota "+role+":", err)
		return 1
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		fmt.Fprintf(os.Stderr, "rota %s: open /dev/null: %v\n", role, err)
		return 1
	}
	if role == roleGuard {
		return runGuard(null)
	}
	return runKeeper(null)
}

// settle makes this process one that others can rely on.
func settle() error {
	// No command of the same user may trace it, read its memory or take its socket.
	if err := Seal(); err != nil {
		return err
	}
	// No command may inherit the socket or the lock, nor what the agent's own parent
	// has left open by mistake.
	closeOnExec()
	// Caught, not ignored: commands would inherit that a signal is ignored.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	// What a command leaves behind becomes this process's child, whatever session it has
	// moved to: so it learns when that has ended, and no process is left unreaped.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the parent of orphans: %w", err)
	}
	return nil
}

// Seal keeps other processes of the same user from tracing this one, and from reading its memory
// and its files. It does not keep root from that. There are no core dumps of it either.
func Seal() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("keep other processes out of the memory of this one: %w", err)
	}
	return nil
}

// Sealed says whether this process is closed to others of its user. The kernel seals programs that have
// capabilities, or that their user may execute and not read.
func Sealed() bool {
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	const byItsUser = 1
	return err == nil && dumpable != byItsUser
}

// closeOnExec marks all files but the standard ones.
func closeOnExec() {
	if unix.CloseRange(socketFile, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	// Linux before 5.11.
	unix.CloseOnExec(socketFile)
	unix.CloseOnExec(lockFile)
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= socketFile {
			unix.CloseOnExec(fd)
		}
	}
}
