package growth

import (
	"context"
	"errors"
	"fmt"

	"github.com/rota-scheduler/rota/bench/child"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// The names of values, which are headings too.
const (
	backlogLeft    = "backlog left"
	leaderRSS      = "leader RSS MB"
	leaderHeap     = "leader heap MB"
	stateMB        = "state.db MB"
	restartSeconds = "restart s"
	bytesPerWorker = "leader KB a worker"
)

const mega, kilo = 1e6, 1e3

// backlog measures a job that goes before a backlog of the same kind, which the same
// workers would run. They are started last, or they would work the backlog off while it
// is made.
func backlog(ctx context.Context, l *lab, size int) (map[string]float64, error) {
	if err := l.start(ctx, setup{idle: true}); err != nil {
		return nil, err
	}
	jobs, err := l.fill(ctx, size, l.options.Distinct)
	if err != nil {
		return nil, err
	}
	warm, err := l.submitWarm(ctx)
	if err != nil {
		return nil, err
	}
	values := map[string]float64{}
	if err := l.addMemory(ctx, values); err != nil {
		return nil, err
	}
	for _, w := range l.cluster.Workers {
		if err := w.Start(); err != nil {
			return nil, err
		}
	}
	if values[Throughput], err = l.throughput(ctx, warm); err != nil {
		return nil, err
	}
	left := 0
	for _, j := range jobs {
		info, err := j.Info(ctx)
		if err != nil {
			return nil, err
		}
		left += int(info.Counts[task.Pending])
	}
	values[backlogLeft] = float64(left)
	return values, nil
}

// history measures a job after so many others have finished, what these leave in memory,
// and how long the servers take to start with them.
func history(ctx context.Context, l *lab, size int) (map[string]float64, error) {
	if err := l.start(ctx, setup{}); err != nil {
		return nil, err
	}
	if err := l.finish(ctx, size, l.options.Distinct); err != nil {
		return nil, err
	}
	values := map[string]float64{}
	rate, err := l.measured(ctx)
	if err != nil {
		return nil, err
	}
	values[Throughput] = rate
	leader, err := l.leader(ctx)
	if err != nil {
		return nil, err
	}
	values[stateMB] = fileMB(l.dataFile(leader, "state.db"))
	took, err := l.restart(ctx)
	if err != nil {
		return nil, err
	}
	values[restartSeconds] = took.Seconds()
	// After the restart there is no garbage yet: what is in memory is state.
	return values, l.addMemory(ctx, values)
}

// enoughWorkers is how many workers it takes to tell the memory of each from other changes of a heap.
const enoughWorkers = 50

// manyWorkers measures with so many sessions, simulated in one process.
func manyWorkers(ctx context.Context, l *lab, size int) (map[string]float64, error) {
	values := map[string]float64{}
	if size >= enoughWorkers {
		used, err := l.heapOfWorkers(ctx, size)
		if err != nil {
			return nil, err
		}
		values[bytesPerWorker] = used / kilo / float64(size)
	}
	err := l.begin(ctx, setup{workers: -1})
	if err == nil {
		err = l.simulate(ctx, size)
	}
	if err == nil {
		values[Throughput], err = l.measured(ctx)
	}
	return values, err
}

// heapOfWorkers is how much the leader's heap grows by so many idle workers.
func (l *lab) heapOfWorkers(ctx context.Context, size int) (float64, error) {
	if err := l.begin(ctx, setup{workers: -1, env: []string{lessEager}}); err != nil {
		return 0, err
	}
	leader, err := l.leader(ctx)
	if err != nil {
		return 0, err
	}
	before, err := heap(ctx, leader)
	if err != nil {
		return 0, err
	}
	if err := l.simulate(ctx, size); err != nil {
		return 0, err
	}
	after, err := heap(ctx, leader)
	return max(0, after-before), err
}

// simulate starts workers that are one process and waits until all are attached.
func (l *lab) simulate(ctx context.Context, n int) (err error) {
	l.simulated, err = child.StartSelf(ctx, l.dir, roleWorkers, "workers", workersConfig{Addrs: l.cluster.Addrs(), Count: n})
	if err != nil {
		return err
	}
	return l.awaitWorkers(ctx, n)
}

func (l *lab) awaitWorkers(ctx context.Context, n int) error {
	return child.Poll(ctx, func() error {
		workers, err := l.client.Workers(ctx, client.WorkersOptions{})
		if err != nil {
			return err
		}
		connected := 0
		for _, w := range workers {
			if w.Connected {
				connected++
			}
		}
		if connected < n {
			return fmt.Errorf("%d of %d workers are there", connected, n)
		}
		return nil
	})
}

// servers measures with so many servers.
func servers(ctx context.Context, l *lab, size int) (map[string]float64, error) {
	if size%2 == 0 {
		return nil, errors.New("an even number of servers survives no more losses: use 1, 3 or 5")
	}
	if err := l.start(ctx, setup{servers: size}); err != nil {
		return nil, err
	}
	rate, err := l.measured(ctx)
	return map[string]float64{Throughput: rate}, err
}
