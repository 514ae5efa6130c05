package growth

import (
	"context"
	"fmt"
	"time"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

const (
	inOrderRate   = "in order /s"
	cancelSeconds = "cancel s"
	retrySeconds  = "retry s"
)

// largeJob measures one array job of so many tasks: its throughput, how fast its results are read again in the order of
// its tasks, and, of another one that is cancelled while it runs, how long that takes, and the request to retry it.
func largeJob(ctx context.Context, l *lab, size int) (map[string]float64, error) {
	if err := l.begin(ctx, setup{}); err != nil {
		return nil, err
	}
	warm, err := l.submitWarm(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := receive(ctx, warm); err != nil {
		return nil, err
	}
	values := map[string]float64{}
	start := time.Now()
	job, err := l.submitUrgent(ctx, size)
	if err != nil {
		return nil, err
	}
	if err := rateOf(values, Throughput, size, start, func() (int, error) { return receive(ctx, job) }); err != nil {
		return nil, err
	}
	err = rateOf(values, inOrderRate, size, time.Now(), func() (count int, err error) {
		for _, err := range job.Results(ctx) {
			if err != nil {
				return count, err
			}
			count++
		}
		return count, nil
	})
	if err != nil {
		return nil, err
	}
	return values, l.cancelAndRetry(ctx, values, size)
}

// rateOf adds how many results a second came from a start on.
func rateOf(values map[string]float64, name string, size int, start time.Time, results func() (int, error)) error {
	count, err := results()
	if err == nil && count != size {
		err = fmt.Errorf("%d of %d results came", count, size)
	}
	values[name] = float64(count) / time.Since(start).Seconds()
	return err
}

// cancelAndRetry cancels a job when a fifth of its tasks has succeeded.
func (l *lab) cancelAndRetry(ctx context.Context, values map[string]float64, size int) error {
	job, err := l.submitUrgent(ctx, size)
	if err != nil {
		return err
	}
	for done := uint32(0); done < uint32(size/warmShare); {
		info, err := job.Info(ctx)
		if err != nil {
			return err
		}
		done = info.Counts[task.Succeeded]
	}
	start := time.Now()
	if _, err := job.Cancel(ctx); err != nil {
		return err
	}
	info, err := job.Wait(ctx)
	if err != nil {
		return err
	}
	values[cancelSeconds] = time.Since(start).Seconds()
	if info.Counts[task.Cancelled] == 0 {
		return fmt.Errorf("job %d had ended before it was cancelled", job.ID())
	}
	start = time.Now()
	again, err := l.client.Retry(ctx, job.ID(), client.RetryOptions{})
	if err != nil {
		return err
	}
	values[retrySeconds] = time.Since(start).Seconds()
	info, err = again.Info(ctx)
	if err == nil && info.Counts.Final()+info.Counts.Waiting()+info.Counts.Held() == uint32(size) {
		err = fmt.Errorf("job %d retries what has succeeded", again.ID())
	}
	return err
}
