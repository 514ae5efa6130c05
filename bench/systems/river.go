package systems

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"golang.org/x/sync/errgroup"

	"github.com/rota-scheduler/rota/bench/child"
	"github.com/rota-scheduler/rota/bench/harness"
	"github.com/rota-scheduler/rota/internal/ticks"
)

// River is River on a PostgreSQL that syncs each commit.
type River struct {
	postgres postgres
	pool     *pgxpool.Pool
	client   *river.Client[pgxTx]
	workers  []*child.Process
}

const (
	// riverBatch is how many jobs are inserted at once, riverInserters how many do so.
	riverBatch, riverInserters = 2000, 4
	riverPool                  = 80
	// riverPoll is how often the client looks for a result of one job.
	riverPoll = 2 * time.Millisecond
)

// Name implements harness.System.
func (*River) Name() string { return "river" }

// Check implements harness.System.
func (*River) Check() error {
	if postgresBin() == "" {
		return errors.New("PostgreSQL is not installed: run bench deps, or apt-get install postgresql")
	}
	return nil
}

// Counterpart implements harness.System.
func (*River) Counterpart(w harness.Workload) (string, bool) {
	const common = "one PostgreSQL, synchronous_commit on: "
	switch w {
	case harness.Array:
		return common + "there is no array, so each task is a job, inserted in batches by COPY", true
	case harness.Distinct, harness.Large:
		return common + "inserted in batches by COPY, outputs read as they are recorded", true
	case harness.Single, harness.Clients:
		return common + "inserted one by one, completed in a transaction of its own, output polled for each 2 ms", true
	case harness.Commands:
		return "it runs no commands", false
	case harness.Failover:
	}
	return "it has one database, and no leader to lose", false
}

// Start implements harness.System.
func (r *River) Start(ctx context.Context, dir string, load harness.Load) error {
	if err := r.postgres.start(ctx, dir); err != nil {
		return err
	}
	var err error
	if r.pool, err = riverConnect(ctx, r.postgres.url); err != nil {
		return err
	}
	driver := riverpgxv5.New(r.pool)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("make River's tables: %w", err)
	}
	if r.client, err = river.NewClient(driver, &river.Config{Logger: quiet}); err != nil {
		return err
	}
	for i := range harness.Workers {
		p, err := child.StartSelf(ctx, dir, roleRiverWorker, fmt.Sprintf("w%d", i+1), riverWorkerConfig{URL: r.postgres.url, Workload: load.Workload})
		if err != nil {
			return err
		}
		r.workers = append(r.workers, p)
	}
	return nil
}

func riverConnect(ctx context.Context, url string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = riverPool
	return pgxpool.NewWithConfig(ctx, cfg)
}

// Stop implements harness.System.
func (r *River) Stop(ctx context.Context) error {
	child.StopAll(ctx, r.workers...)
	if r.pool != nil {
		r.pool.Close()
	}
	child.StopAll(ctx, r.postgres.process)
	r.postgres.ports.Release()
	*r = River{}
	return nil
}

// Processes implements harness.System.
func (r *River) Processes() []harness.Process {
	return append(processes("worker", r.workers), harness.Process{Role: "postgres", Pid: r.postgres.process.Pid()})
}

// Run implements harness.System.
func (r *River) Run(ctx context.Context, load harness.Load) (harness.Measure, error) {
	switch load.Workload {
	case harness.Array, harness.Distinct, harness.Large:
		return r.batch(ctx, &load)
	case harness.Single:
		return singly(&load, 1, func(i int) error { return r.single(ctx, &load, i) })
	case harness.Clients:
		return singly(&load, load.Clients, func(i int) error { return r.single(ctx, &load, i) })
	case harness.Commands, harness.Failover:
	}
	return harness.Measure{}, errUnknown(load.Workload)
}

// batch inserts all jobs while their outputs are read.
func (r *River) batch(ctx context.Context, load *harness.Load) (harness.Measure, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tally := harness.NewTally(load, false)
	start := time.Now()
	parts, partsCtx := errgroup.WithContext(ctx)
	for n := range riverInserters {
		parts.Go(func() error { return r.insert(partsCtx, load, n) })
	}
	parts.Go(func() error {
		if load.Workload == harness.Array {
			return r.awaitAll(partsCtx, load)
		}
		return r.collect(partsCtx, load, tally)
	})
	if err := parts.Wait(); err != nil {
		return harness.Measure{}, err
	}
	m := harness.Measure{Tasks: load.Tasks, Elapsed: time.Since(start)}
	if load.Workload == harness.Array {
		return m, nil
	}
	return m, tally.Complete()
}

// insert inserts every so many-th batch.
func (r *River) insert(ctx context.Context, load *harness.Load, n int) error {
	for first := n * riverBatch; first < load.Tasks; first += riverInserters * riverBatch {
		var batch []river.InsertManyParams
		for i := first; i < min(first+riverBatch, load.Tasks); i++ {
			batch = append(batch, river.InsertManyParams{Args: riverArgs{ID: load.ID(i), Payload: load.Payload(i)}})
		}
		if _, err := r.client.InsertManyFast(ctx, batch); err != nil {
			return fmt.Errorf("insert jobs: %w", err)
		}
	}
	return nil
}

// awaitAll waits until so many jobs of this run are completed. To count them takes longer the more there are, so it
// counts only when none is left to run.
func (r *River) awaitAll(ctx context.Context, load *harness.Load) error {
	const left = `select exists(select 1 from river_job where state in ('available', 'running', 'retryable', 'scheduled', 'pending'))`
	const done = `select count(*) from river_job where state = 'completed' and (args->>'id')::bigint >> 32 = $1`
	return child.Poll(ctx, func() error {
		var some bool
		if err := r.pool.QueryRow(ctx, left).Scan(&some); err != nil || some {
			return errors.Join(err, errors.New("some jobs are left"))
		}
		var n int
		if err := r.pool.QueryRow(ctx, done, int64(load.Round)).Scan(&n); err != nil || n != load.Tasks {
			return errors.Join(err, fmt.Errorf("%d of %d jobs are completed", n, load.Tasks))
		}
		return nil
	})
}

// collect reads outputs in the order in which jobs ended, by the index that River has
// for that. Jobs become visible somewhat out of that order, so each reading begins a
// little before the end of the last one, and when nothing comes, from the start.
func (r *River) collect(ctx context.Context, load *harness.Load, tally *harness.Tally) error {
	const (
		query = `select args->>'id', metadata->>'output', finalized_at from river_job
			where state = 'completed' and finalized_at >= $1 order by finalized_at limit $2`
		limit   = 20_000
		overlap = 250 * time.Millisecond
		maxIdle = 2 * time.Second
	)
	from, began, last := time.Time{}, time.Now().Add(-time.Minute), time.Now()
	for tally.Count() < load.Tasks {
		before := tally.Count()
		rows, err := r.pool.Query(ctx, query, later(from, began), limit)
		if err != nil {
			return err
		}
		read := 0
		for rows.Next() {
			var id uint64
			var output *string
			if err := rows.Scan(&idText{&id}, &output, &from); err != nil {
				rows.Close()
				return err
			}
			read++
			if err := addOutput(load, tally, id, output); err != nil {
				rows.Close()
				return err
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if read < limit {
			from = from.Add(-overlap)
		}
		switch now := time.Now(); {
		case tally.Count() > before:
			last = now
		case now.Sub(last) > maxIdle:
			from, last = time.Time{}, now
		default:
			if !ticks.Sleep(ctx, 10*time.Millisecond) {
				return errors.Join(ctx.Err(), tally.Complete())
			}
		}
	}
	return nil
}

func addOutput(load *harness.Load, tally *harness.Tally, id uint64, output *string) error {
	i, ok := load.Index(id)
	if !ok {
		return nil // It is of the run before.
	}
	if output == nil {
		return fmt.Errorf("job %d has no output", i)
	}
	// A string in JSON is base64 of the bytes; ->> has taken the quotes off.
	var result []byte
	if err := json.Unmarshal([]byte(`"`+*output+`"`), &result); err != nil {
		return fmt.Errorf("the output of job %d: %w", i, err)
	}
	return tally.Add(i, result)
}

// single inserts one job and polls for its output.
func (r *River) single(ctx context.Context, load *harness.Load, i int) error {
	payload := load.Payload(i)
	job, err := r.client.Insert(ctx, riverArgs{ID: load.ID(i), Payload: payload}, nil)
	if err != nil {
		return err
	}
	for {
		var state string
		var output *string
		err := r.pool.QueryRow(ctx, `select state, metadata->>'output' from river_job where id = $1`, job.Job.ID).Scan(&state, &output)
		if err != nil {
			return err
		}
		if state == "completed" && output != nil {
			one := harness.NewTally(load, false)
			return addOutput(load, one, load.ID(i), output)
		}
		if !ticks.Sleep(ctx, riverPoll) {
			return ctx.Err()
		}
	}
}
