package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/bench/child"
)

// ErrBroken is the error of a run after which a system broke a promise. Its folder is
// kept, whatever Options say: it is the evidence.
var ErrBroken = errors.New("a promise was broken")

const (
	startTimeout = 90 * time.Second
	stopTimeout  = 60 * time.Second
	// startTries is how often to start a system that finds a port taken. Ports are free in most tries, unless
	// something is wrong that another try does not help against.
	startTries = 3
	// warmTasks is how many tasks run before a measurement, at most.
	warmTasks = 20_000
)

// Run is one measured run of one system.
type Run struct {
	System string
	Measure
	CPU  CPU
	Disk Disk
	// DiskRate is what the disk could write just before, bytes a second; for Large.
	DiskRate float64
}

// Options is how runs are made.
type Options struct {
	// Dir is where the folders of the systems are made.
	Dir string
	// Timeout bounds one run.
	Timeout time.Duration
	// Keep leaves the folders behind, for their logs.
	Keep bool
	// Profiles is a folder for CPU profiles of systems that are Profiled; "": none are taken.
	Profiles string
	// Again is called when a system is started again, and why; nil: nothing is called.
	Again func(s System, why error)
}

// Once starts a system, measures one run, and stops it. If somebody has taken a port of the system between its
// choice and its start, it is started again, with other ports.
func Once(ctx context.Context, s System, load Load, o Options) (run Run, err error) {
	for try := 1; ; try++ {
		run, err = once(ctx, s, load, o)
		if try == startTries || !errors.Is(err, child.ErrPortTaken) || errors.Is(err, ErrBroken) || ctx.Err() != nil {
			return run, err
		}
		if o.Again != nil {
			o.Again(s, err)
		}
	}
}

func once(ctx context.Context, s System, load Load, o Options) (run Run, err error) {
	dir, err := os.MkdirTemp(o.Dir, s.Name()+"-")
	if err != nil {
		return run, fmt.Errorf("make a folder: %w", err)
	}
	// Some systems refuse to run as root, and must be able to enter.
	if err := os.Chmod(dir, 0o711); err != nil {
		return run, err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err = errors.Join(err, s.Stop(stop))
		if errors.Is(err, ErrBroken) {
			err = fmt.Errorf("%w; the data is kept in %s", err, dir)
			return
		}
		if o.Keep {
			return
		}
		if err != nil {
			err = fmt.Errorf("%w%s", err, logTails(dir))
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	start, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.Start(start, dir, load); err != nil {
		return run, fmt.Errorf("start %s: %w", s.Name(), err)
	}
	ctx, cancelRun := context.WithTimeout(ctx, o.Timeout)
	defer cancelRun()
	if run, err = measure(ctx, s, load, dir, o.Profiles); err != nil {
		return run, fmt.Errorf("%s: %w", s.Name(), err)
	}
	return run, nil
}

// profiled runs a load, with profiles if a folder for them is given.
func profiled(ctx context.Context, s System, load Load, dir string) (m Measure, err error) {
	one, ok := s.(Profiled)
	if dir == "" || !ok {
		return s.Run(ctx, load)
	}
	p, err := startProfiles(ctx, one)
	if err != nil {
		return m, err
	}
	m, err = s.Run(ctx, load)
	return m, errors.Join(err, p.stop(dir, s.Name(), load.Workload))
}

func measure(ctx context.Context, s System, load Load, dir, profiles string) (run Run, err error) {
	if warm := warmUp(load); warm.Tasks > 0 {
		if _, err := s.Run(ctx, warm); err != nil {
			return run, fmt.Errorf("warm up: %w", err)
		}
	}
	if load.Workload == Large {
		if run.DiskRate, err = WriteRate(dir); err != nil {
			return run, err
		}
	}
	// This run must not pay for the flush of what was written before.
	unix.Sync()
	load.Round = 2
	processes := s.Processes()
	disk := readDisk(dir)
	cpu, err := readCPU(processes)
	if err != nil {
		return run, err
	}
	if run.Measure, err = profiled(ctx, s, load, profiles); err != nil {
		return run, err
	}
	after, err := readCPU(processes)
	if err != nil {
		return run, err
	}
	run.System, run.Disk = s.Name(), readDisk(dir).since(disk)
	if load.Workload != Failover {
		// Processes that were killed have taken their times with them.
		run.CPU = after.since(cpu)
	}
	if v, ok := s.(Verifier); ok {
		if err := v.Verify(ctx); err != nil {
			return run, fmt.Errorf("after the run: %w", err)
		}
	}
	return run, nil
}

// warmUp is a small load like this one. A failover and an overload need none.
func warmUp(load Load) Load {
	load.Round = 1
	switch load.Workload {
	case Failover, Overload:
		load.Tasks = 0
	case Commands, Large:
		load.Tasks = min(20, load.Tasks)
	case Single:
		load.Tasks = min(50, load.Tasks)
	default:
		load.Tasks = min(warmTasks, max(1, load.Tasks/10))
	}
	return load
}

const (
	tailBytes = 600
	maxTails  = 12
)

// logTails is the ends of the logs in a folder that will be removed.
func logTails(dir string) string {
	paths, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return ""
	}
	text := ""
	for _, path := range paths[:min(maxTails, len(paths))] {
		data, err := os.ReadFile(path)
		if err != nil || len(data) == 0 {
			continue
		}
		text += fmt.Sprintf("\n--- end of %s\n%s", filepath.Base(path), data[max(0, len(data)-tailBytes):])
	}
	return text
}
