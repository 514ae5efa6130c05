package growth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/bench/child"
	"github.com/rota-scheduler/rota/bench/systems"
	"github.com/rota-scheduler/rota/worker"
)

const (
	roleWorkers = "rota-workers"
	// simulatedSlots is few: a machine with thousands of workers has small ones.
	simulatedSlots = 4
	// simulatedGC is how much the workers allocate together before their garbage is collected, in
	// percent of what is live. Each of a real fleet has a few dozen stacks to look at, when it
	// collects, and not the 50,000 that 2,000 workers have in one process.
	simulatedGC = 800
	// simulatedHeap is memory for each worker that is touched once before anything is measured.
	// A worker by itself soon uses the same few MB again and again; here what is allocated is new
	// memory until the first collection, and the kernel would clear a page for every 20 tasks, which
	// took 2,000 workers 5 % of the CPU when half as much was touched. maxTouched is what all
	// together touch at most.
	simulatedHeap = 1 << 20
	maxTouched    = 2 << 30
	// startEvery spreads the first hellos, as machines that boot are spread.
	startEvery = 500 * time.Microsecond
)

type workersConfig struct {
	Addrs []string
	Count int
}

// Children is the roles that studies start this program in.
func Children() map[string]systems.Child {
	return map[string]systems.Child{roleWorkers: func(ctx context.Context, data []byte) error {
		var cfg workersConfig
		if err := json.Unmarshal(data, &cfg); err != nil {
			return fmt.Errorf("read the configuration: %w", err)
		}
		return simulate(ctx, cfg)
	}}
}

// touch makes the runtime have so many bytes that the kernel has given it already.
func touch(bytes int) {
	heap := make([]byte, bytes)
	for i := 0; i < len(heap); i += os.Getpagesize() {
		heap[i] = 1
	}
	runtime.KeepAlive(heap)
	runtime.GC()
}

// simulate runs workers in this process, each with a session and connections of its own.
func simulate(ctx context.Context, cfg workersConfig) error {
	debug.SetGCPercent(simulatedGC)
	touch(min(simulatedHeap*cfg.Count, maxTouched))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	nothing := func(context.Context, *worker.Task) ([]byte, error) { return nil, nil }
	var parts sync.WaitGroup
	errs := make([]error, cfg.Count)
	for i := range cfg.Count {
		w, err := worker.New(worker.Config{
			Addrs: cfg.Addrs, Name: fmt.Sprintf("w%d", i+1), Slots: simulatedSlots,
			Handlers: map[string]worker.Handler{noop: nothing}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return err
		}
		parts.Go(func() {
			if errs[i] = w.Run(ctx); errs[i] != nil {
				cancel()
			}
		})
		time.Sleep(startEvery)
	}
	err := child.Serve(ctx)
	parts.Wait()
	return errors.Join(errors.Join(errs...), err)
}
