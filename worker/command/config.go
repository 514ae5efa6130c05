package command

import (
	"log/slog"
	"time"

	"github.com/rota-scheduler/rota/worker/guard"
)

// Config is what a Runner is made of.
type Config struct {
	// Logger gets what people need to know.
	Logger *slog.Logger
	// Guard starts the commands.
	Guard *guard.Client
	// Addrs is where the servers are, for rota within a task.
	Addrs []string
	// Scratch is the folder in which working directories are made, which is removed in the end;
	// empty: a new one for temporary files.
	Scratch string
	// Deadline is when exclusive commands must be dead, on guard.BootNow.
	Deadline func() time.Duration
	// Grace is how long a command may take to end, when its context has ended for a cause, before it
	// is killed; 0: it is killed at once.
	Grace func(t *Task, cause error) time.Duration
}
