package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/worker/command"
	"github.com/rota-scheduler/rota/worker/guard"
)

// DefaultStopTimeout is how long a graceful stop lets running tasks finish when
// the configuration does not say.
const DefaultStopTimeout = 10 * time.Second

// Config is what a worker is made of.
type Config struct {
	// Addrs is the gRPC addresses of the servers, at least one. Which of them leads
	// is found out.
	Addrs []string
	// Name is a label for people; it need not be unique.
	Name string
	// Slots is how many tasks run at once, 1 to task.MaxSlots; 0: one per CPU.
	Slots int
	// Labels is matched against what jobs require.
	Labels map[string]string
	// Queues is the queues that are served; empty: all.
	Queues []string
	// DataDir keeps the worker's identity across restarts. Empty: a new identity for
	// each process, and a process that replaces a killed one must wait for the lease
	// of that one.
	DataDir string
	// Handlers is the Go functions that tasks can name.
	Handlers map[string]Handler
	// Commands says that tasks may run programs here, which needs Linux. Run then keeps those from reading what this
	// process knows: it overwrites the environment that /proc shows of it, though not what
	// os.Getenv returns, and makes it not dumpable, so that there are no core dumps and no
	// debugger of the same user can attach.
	Commands bool
	// Logger gets what people need to know; nil: slog.Default().
	Logger *slog.Logger
	// Version is shown to people.
	Version string
	// StopTimeout is how long a graceful stop lets running tasks finish; 0:
	// DefaultStopTimeout; negative: not at all.
	StopTimeout time.Duration
	// Dial makes a connection to a server; nil: wire.Dial without options. It
	// carries TLS and access tokens.
	Dial func(addr string) (*grpc.ClientConn, error)
}

// Handler runs one task. Its result may have up to task.MaxPayload bytes. An error
// fails the attempt; the task is tried again while it has attempts left, unless the
// error is Permanent. The context ends when the task times out, is cancelled, or
// its worker stops; context.Cause tells which. A panic fails the attempt.
type Handler func(ctx context.Context, t *Task) ([]byte, error)

// Task is one attempt of one task.
type Task struct {
	Job   uint64
	Index uint32
	// Value is what an array job gives to this index; without an array, the index.
	Value uint32
	// Attempt counts from 1.
	Attempt uint32
	// Token is the fencing token: it rises with every attempt, so whatever the task
	// writes to can refuse a lower one than it has seen.
	Token uint64
	// Payload must not be changed: tasks of a job may share it.
	Payload []byte
	JobName string
	Queue   string
}

// ErrLinuxOnly is why a worker on another system than Linux runs neither commands nor exclusive
// tasks: New returns it where Config.Commands is set, and exclusive tasks fail there, so that another
// worker gets their next attempts.
var ErrLinuxOnly = guard.ErrUnsupported

// Causes that end a handler's context; context.Cause returns them.
var (
	// ErrStopped: the task was cancelled.
	ErrStopped = errors.New("the task was stopped on request")
	// ErrTimeout: the attempt ran longer than the job allows.
	ErrTimeout = errors.New("the attempt ran longer than the job's timeout")
	// ErrLease: the lease of an exclusive task is about to end.
	ErrLease = errors.New("the lease was not renewed in time for an exclusive task")
	// ErrDropped: the task was given to another worker.
	ErrDropped = errors.New("the task is no longer this worker's")
	// ErrShutdown: the worker ends.
	ErrShutdown = errors.New("the worker is stopping")
)

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent marks a failure that must not be tried again. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

func isPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

// complete fills in what was left out, and returns what is wrong.
func (c *Config) complete() error {
	if len(c.Addrs) == 0 {
		return task.Errorf(task.KindInvalid, "the worker has no server address: give at least one")
	}
	if c.Slots == 0 {
		c.Slots = min(runtime.NumCPU(), task.MaxSlots)
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
	if err := validLabels(c.Labels); err != nil {
		return err
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.DataDir != "" {
		// What starts commands is elsewhere than this process.
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
	}
	return nil
}

func validLabels(labels map[string]string) error {
	pairs := make([]task.Pair, 0, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, task.Pair{Key: k, Value: labels[k]})
	}
	return task.ValidPairs("label", pairs)
}
