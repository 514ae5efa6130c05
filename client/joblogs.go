package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/task"
)

const (
	// maxFollowed bounds the tasks of one job whose logs are followed at once.
	maxFollowed = 32
	// growthPoll is how often to ask whether a job whose tasks are still arriving has got more.
	growthPoll = time.Second
)

// allLogs reads the logs of all tasks of a job, in the order of their indexes: one after the other, and with Follow
// some at once. A task whose turn comes when it has ended gives what is kept then.
func (j *Job) allLogs(ctx context.Context, opts LogOptions, yield func(LogChunk, error) bool) {
	window := 1
	if opts.Follow {
		window = maxFollowed
	}
	ctx, cancel := context.WithCancel(ctx)
	type piece struct {
		chunk LogChunk
		err   error
	}
	pieces := make(chan piece)
	send := func(p piece) bool {
		select {
		case pieces <- p:
			return true
		case <-ctx.Done():
			return false
		}
	}
	var feeder, readers sync.WaitGroup
	feeder.Go(func() {
		defer close(pieces)
		defer readers.Wait()
		places := make(chan struct{}, window)
		err := j.eachTask(ctx, opts.Follow, func(index uint32) {
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return
			}
			readers.Go(func() {
				defer func() { <-places }()
				one := opts
				one.Task = &index
				for c, err := range j.Logs(ctx, one) {
					if opts.Attempt != 0 && errors.Is(err, task.ErrNotFound) {
						return // others may have had so many
					}
					if !send(piece{c, err}) || err != nil {
						return
					}
				}
			})
		})
		if err != nil {
			send(piece{err: err})
		}
	})
	defer feeder.Wait()
	defer cancel()
	for p := range pieces {
		if !yield(p.chunk, p.err) || p.err != nil {
			return
		}
	}
}

// eachTask calls f with the index of each task of the job; with wait, also of those that are yet to be appended.
func (j *Job) eachTask(ctx context.Context, wait bool, f func(index uint32)) error {
	next := uint32(0)
	for {
		info, err := j.Info(ctx)
		if err != nil {
			return err
		}
		for ; next < info.Total && ctx.Err() == nil; next++ {
			f(next)
		}
		if !wait || !info.Open || ctx.Err() != nil {
			return ctx.Err()
		}
		timer := time.NewTimer(growthPoll)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}
