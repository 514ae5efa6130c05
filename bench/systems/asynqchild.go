package systems

import (
	"context"
	"time"

	"github.com/hibiken/asynq"

	"github.com/rota-scheduler/rota/bench/child"
	"github.com/rota-scheduler/rota/bench/harness"
)

type asynqWorkerConfig struct {
	Addr     string
	Workload harness.Workload
}

// asynqLook is how soon an idle worker finds a new task; the default is a second.
const asynqLook = 2 * time.Millisecond

// asynqWorker runs tasks and writes their results.
func asynqWorker(ctx context.Context, cfg asynqWorkerConfig) error {
	concurrency := asynqAtOnce / harness.Workers
	server := asynq.NewServer(asynq.RedisClientOpt{Addr: cfg.Addr, PoolSize: 2 * concurrency}, asynq.Config{
		Concurrency: concurrency, TaskCheckInterval: asynqLook, LogLevel: asynq.WarnLevel,
	})
	err := server.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
		if len(t.Payload()) == 0 {
			return nil
		}
		_, err := t.ResultWriter().Write(harness.Work(t.Payload()))
		return err
	}))
	if err != nil {
		return err
	}
	defer server.Shutdown()
	return child.Serve(ctx)
}
