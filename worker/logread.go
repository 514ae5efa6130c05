package worker

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/worker/report"
	"github.com/rota-scheduler/rota/worker/tasklog"
)

// heldCheck is how often to look whether a task that has not started, and whose log somebody waits for, is still here.
const heldCheck = time.Second

// answer sends what a read asks for, and returns why it has ended. An error means that nobody wants to know.
func (l *logStream) answer(ctx context.Context, r *logRead) (rotav1.LogEndReason, error) {
	log, err := l.find(ctx, r.m)
	switch {
	case err != nil:
		return 0, err
	case log == nil:
		return rotav1.LogEndReason_LOG_END_REASON_UNKNOWN, nil
	}
	reader := log.Read(beginningOf(log, r.m), wantedOf(r.m))
	next := func(most int) (tasklog.Chunk, error) { return reader.Next(ctx, most) }
	if !r.m.GetFollow() {
		next = reader.Ready
	}
	for {
		left, err := r.left(ctx)
		if err != nil {
			return 0, err
		}
		c, err := next(int(min(left, wire.MaxLogData)))
		switch {
		case errors.Is(err, io.EOF):
			return rotav1.LogEndReason_LOG_END_REASON_ENDED, nil
		case errors.Is(err, tasklog.ErrNoMore):
			return rotav1.LogEndReason_LOG_END_REASON_NO_MORE, nil
		case err != nil:
			return 0, err
		}
		m := dataOf(r.m.GetId(), &c)
		r.spend(wire.LogCost(m))
		l.send(&rotav1.LogsRequest{Message: &rotav1.LogsRequest_Data{Data: m}})
	}
}

// find returns the log that a read is of. If its attempt is here and has not started, and the reader follows it, find
// waits for that; nil: it is not here, or has not started.
func (l *logStream) find(ctx context.Context, m *rotav1.LogRead) (*tasklog.Log, error) {
	key := tasklog.Key{Job: m.GetJobId(), Index: m.GetIndex(), Token: m.GetToken()}
	grant := report.Grant{Job: key.Job, Offset: int64(key.Token) - int64(key.Index)}
	look := time.NewTicker(heldCheck)
	defer look.Stop()
	for {
		// Asked in this order: the log is opened while the task is held.
		held := l.w.held.holds(grant, key.Index)
		log, opened := l.w.logs.Find(key)
		if log != nil || !held || !m.GetFollow() {
			return log, nil
		}
		select {
		case <-opened:
		case <-look.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// holds says whether this worker holds a task of a grant.
func (h *heldTasks) holds(g report.Grant, index uint32) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.attempts.missing(g, task.Range{First: index, Count: 1})) == 0
}

// beginningOf is where a read of a log begins.
func beginningOf(log *tasklog.Log, m *rotav1.LogRead) tasklog.Position {
	at := tasklog.Position{Stdout: m.GetStdout(), Stderr: m.GetStderr()}
	if m.GetSince() != nil {
		at = at.Later(log.Since(max(0, m.GetSince().AsDuration())))
	}
	if m.Tail != nil {
		at = at.Later(log.Tail(int(min(m.GetTail(), wire.MaxLogTail)), wantedOf(m)))
	}
	return at
}

func wantedOf(m *rotav1.LogRead) tasklog.Wanted {
	switch m.GetStream() {
	case rotav1.LogStream_LOG_STREAM_STDOUT:
		return tasklog.OnlyStdout
	case rotav1.LogStream_LOG_STREAM_STDERR:
		return tasklog.OnlyStderr
	default:
		return tasklog.Both
	}
}

func dataOf(id uint64, c *tasklog.Chunk) *rotav1.LogData {
	m := &rotav1.LogData{
		Id: id, Data: c.Data, Stdout: c.Behind.Stdout, Stderr: c.Behind.Stderr, MissingStdout: c.Gap.Stdout, MissingStderr: c.Gap.Stderr,
	}
	if len(c.Data) > 0 {
		m.At = timestamppb.New(c.At)
		m.Stream = rotav1.LogStream_LOG_STREAM_STDOUT
		if c.Stream == tasklog.Stderr {
			m.Stream = rotav1.LogStream_LOG_STREAM_STDERR
		}
	}
	return m
}
