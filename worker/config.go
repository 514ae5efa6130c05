package worker

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/worker/command"
	"github.com/rota-scheduler/rota/worker/guard"
	"github.com/rota-scheduler/rota/worker/tasklog"
)

// DefaultStopTimeout is how long running tasks may go on during a graceful stop if the configuration
// does not say.
const DefaultStopTimeout = 10 * time.Second

// Config is what a worker is made of.
type Config struct {
	// Addrs are the gRPC addresses of the servers, at least one. The worker finds out which of them
	// leads. A name with several addresses stands for several servers, and so does the name of a service
	// (_rota._tcp.example.com, by its SRV records).
	Addrs []string
	// Resolver looks up names in Addrs, such as net.DefaultResolver, which is the default if Dial is nil. Without one,
	// a name is one server.
	Resolver wire.Resolver
	// Name is a label for people; it need not be unique.
	Name string
	// Slots is how many tasks run at once, 1 to task.MaxSlots; 0: one per CPU.
	Slots int
	// Labels are what jobs can require of a worker.
	Labels map[string]string
	// Queues are the queues that the worker serves; empty: all.
	Queues []string
	// DataDir keeps the worker's identity across restarts. Empty: each process has a new identity, and
	// the tasks of a process that was killed wait until its lease has ended.
	DataDir string
	// Handlers are the Go functions that tasks can name.
	Handlers map[string]Handler
	// Commands says that tasks may run programs here, which needs Linux. Run then keeps these programs
	// from reading what this process knows. It overwrites the environment that /proc shows of the
	// process, though not what os.Getenv returns, and makes the process not dumpable: there are no
	// core dumps, and no debugger of the same user can attach.
	Commands bool
	// LogBytes is how much to keep of what one attempt of a command prints, for people who read it, and
	// AllLogBytes how much of all of them, bytes; 0: tasklog.DefaultPerTask and tasklog.DefaultTotal. It is
	// in a file in DataDir, or among temporary files, as long as this worker runs.
	LogBytes, AllLogBytes int64
	// Logger gets what people need to know; nil: slog.Default().
	Logger *slog.Logger
	// Version is shown to people.
	Version string
	// StopTimeout is how long running tasks may go on during a graceful stop; 0: DefaultStopTimeout;
	// negative: not at all.
	StopTimeout time.Duration
	// Dial makes a connection to a server, with TLS and access tokens; nil: wire.Dial without
	// options.
	Dial func(addr string) (*grpc.ClientConn, error)
}

// ErrLinuxOnly is why a worker on another system than Linux runs neither commands nor exclusive
// tasks. New returns it if Config.Commands is set. Exclusive tasks fail there, so that another worker
// gets their next attempts.
var ErrLinuxOnly = guard.ErrUnsupported

// complete checks the configuration and fills in what was left out.
func (c *Config) complete() error {
	if c.Slots == 0 {
		c.Slots = min(runtime.NumCPU(), task.MaxSlots)
	}
	if err := c.check(); err != nil {
		return err
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.DataDir != "" {
		// The process that starts commands has another working directory.
		dir, err := filepath.Abs(c.DataDir)
		if err != nil {
			return fmt.Errorf("find the data folder %s: %w", c.DataDir, err)
		}
		c.DataDir = dir
	}
	switch {
	case c.StopTimeout == 0:
		c.StopTimeout = DefaultStopTimeout
	case c.StopTimeout < 0:
		c.StopTimeout = 0
	}
	if c.Dial == nil {
		for _, addr := range c.Addrs {
			if err := wire.CheckPlain(addr); err != nil {
				return err
			}
		}
		c.Dial = func(addr string) (*grpc.ClientConn, error) { return wire.Dial(addr) }
		if c.Resolver == nil {
			c.Resolver = net.DefaultResolver
		}
	}
	return nil
}

// check returns what is wrong with the configuration.
func (c *Config) check() error {
	if len(c.Addrs) == 0 {
		return task.Errorf(task.KindInvalid, "the worker has no server address: give at least one")
	}
	if c.Slots < 0 || c.Slots > task.MaxSlots {
		return task.Errorf(task.KindInvalid, "%d slots are out of range: use 1 to %d", c.Slots, task.MaxSlots)
	}
	if len(c.Handlers) == 0 && !c.Commands {
		return task.Errorf(task.KindInvalid, "the worker can run nothing: register handlers or allow commands")
	}
	if c.Commands && !command.Supported {
		return fmt.Errorf("allow commands: %w", ErrLinuxOnly)
	}
	if c.Commands {
		logs := c.logs()
		if err := logs.Check(); err != nil {
			return task.Errorf(task.KindInvalid, "%v", err)
		}
	}
	if len(c.Handlers) > task.MaxHandlers {
		return task.Errorf(task.KindTooLarge, "the worker has %d handlers, the limit is %d", len(c.Handlers), task.MaxHandlers)
	}
	for name, h := range c.Handlers {
		if err := task.ValidName("handler", name); err != nil {
			return err
		}
		if h == nil {
			return task.Errorf(task.KindInvalid, "handler %q is nil", name)
		}
	}
	if c.Name != "" {
		if err := task.ValidName("worker name", c.Name); err != nil {
			return err
		}
	}
	for _, q := range c.Queues {
		if err := task.ValidName("queue", q); err != nil {
			return err
		}
	}
	return validLabels(c.Labels)
}

// logs is the part for the logs of commands.
func (c *Config) logs() tasklog.Config {
	return tasklog.Config{PerTask: c.LogBytes, Total: c.AllLogBytes, Slots: c.Slots, Logger: c.Logger}
}

func validLabels(labels map[string]string) error {
	pairs := make([]task.Pair, 0, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, task.Pair{Key: k, Value: labels[k]})
	}
	return task.ValidPairs("label", pairs)
}
