package guard

import (
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/rota-scheduler/rota/task"
)

// ErrGuardLost says that there is no guard, so that nothing was started.
var ErrGuardLost = errors.New("the guard process has ended")

// ErrUnsupported says: guard and keepers need what only Linux has.
var ErrUnsupported error = task.Errorf(task.KindInvalid,
	"commands and exclusive tasks run on Linux only, where a guard can end them in time: have workers there take them")

// Config is what a Client is made of.
type Config struct {
	// Logger gets what people need to know.
	Logger *slog.Logger
	// Lock is the lock of the worker's data folder, which guard and keepers hold as long as they
	// live; nil: none.
	Lock *os.File
	// Deadline is when exclusive work must be dead, on BootNow.
	Deadline func() time.Duration
	// Unguarded is called when exclusive handlers run and no guard can be had.
	Unguarded func()
}
