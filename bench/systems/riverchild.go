package systems

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/rota-scheduler/rota/bench/child"
	"github.com/rota-scheduler/rota/bench/harness"
)

type pgxTx = pgx.Tx

var quiet = slog.New(slog.DiscardHandler)

// riverArgs is a job. JSON has the payload as base64.
type riverArgs struct {
	ID      uint64 `json:"id,string"`
	Payload []byte `json:"payload,omitempty"`
}

// Kind implements river.JobArgs.
func (riverArgs) Kind() string { return "bench" }

type riverWorkerConfig struct {
	URL      string
	Workload harness.Workload
}

// These are the settings of River's own benchmark, for throughput; its defaults fetch
// each 100 ms at most.
const (
	riverFetchCooldown = 2 * time.Millisecond
	riverFetchPoll     = 20 * time.Millisecond
	riverMaxWorkers    = 2000
	riverStop          = 5 * time.Second
)

// riverWorker runs jobs and records their outputs.
func riverWorker(ctx context.Context, cfg riverWorkerConfig) error {
	pool, err := riverConnect(ctx, cfg.URL)
	if err != nil {
		return err
	}
	defer pool.Close()
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, job *river.Job[riverArgs]) error {
		if len(job.Args.Payload) == 0 {
			return nil
		}
		if err := river.RecordOutput(ctx, harness.Work(job.Args.Payload)); err != nil {
			return err
		}
		if cfg.Workload != harness.Single && cfg.Workload != harness.Clients {
			return nil
		}
		return completeNow(ctx, pool, job)
	}))
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Logger: slog.Default(), Workers: workers, FetchCooldown: riverFetchCooldown, FetchPollInterval: riverFetchPoll,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: riverMaxWorkers}},
	})
	if err != nil {
		return err
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	err = child.Serve(ctx)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), riverStop)
	defer cancel()
	return errors.Join(err, client.Stop(stop))
}

// completeNow makes a job's end durable at once. River by itself gathers the ends of
// jobs for up to 250 ms when there are few, which would be all that latencies show.
func completeNow(ctx context.Context, pool *pgxpool.Pool, job *river.Job[riverArgs]) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
}

// idText scans a number that is text in a row.
type idText struct{ id *uint64 }

// Scan implements sql.Scanner.
func (t *idText) Scan(v any) error {
	s, ok := v.(string)
	if !ok {
		return errors.New("the id of a job is no text")
	}
	id, err := strconv.ParseUint(s, 10, 64)
	*t.id = id
	return err
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
