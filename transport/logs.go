package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// logPace is how often to look at most what has become of a task whose log is followed: its job may change
	// thousands of times in a second.
	logPace = 50 * time.Millisecond
	// logAgain is how long to wait before a worker is asked again that did not have the log of an attempt, or has
	// ended its stream: the grant may not have arrived yet.
	logAgain = 200 * time.Millisecond
	// lateLog is how long a worker may take to send the rest of the log of an attempt that has ended.
	lateLog = 2 * time.Second
	// logPatience is how long a reader that does not follow waits for a worker.
	logPatience = 10 * time.Second
)

// StreamLogs implements the job service. Any server serves it: it asks the worker, which sends to any server.
func (s *Server) StreamLogs(r *rotav1.StreamLogsRequest, stream grpc.ServerStreamingServer[rotav1.StreamLogsResponse]) error {
	if err := checkLogs(r); err != nil {
		return wire.ToStatus(err)
	}
	ctx, cancel := s.streamContext(stream.Context())
	defer cancel()
	if err := s.fresh(ctx, r.GetRead()); err != nil {
		return wire.ToStatus(err)
	}
	w := &logWriter{s: s, r: r, job: r.GetJobId(), index: r.GetTaskIndex(), stream: stream}
	if err := w.resume(); err != nil {
		return wire.ToStatus(err)
	}
	return wire.ToStatus(s.within(ctx, func() error { return w.run(ctx) }))
}

func checkLogs(r *rotav1.StreamLogsRequest) error {
	if err := wire.CheckKnown(r); err != nil {
		return err
	}
	switch {
	case r.Tail != nil && r.GetTail() > wire.MaxLogTail:
		return task.Errorf(task.KindInvalid, "%d lines are more than one may ask for (%d)", r.GetTail(), wire.MaxLogTail)
	case r.GetSince() != nil && (r.GetSince().CheckValid() != nil || r.GetSince().AsDuration() < 0):
		return task.Errorf(task.KindInvalid, "malformed age of a log")
	case r.GetStream() < 0 || r.GetStream() > rotav1.LogStream_LOG_STREAM_STDERR:
		return task.Errorf(task.KindInvalid, "unknown stream %d: the sender is newer than this program, or broken", r.GetStream())
	case len(r.GetPositions()) > 1:
		return task.Errorf(task.KindInvalid, "a task has one attempt under way")
	}
	return nil
}

// logWriter sends the log of one task, attempt by attempt.
type logWriter struct {
	s      *Server
	r      *rotav1.StreamLogsRequest
	job    uint64
	index  uint32
	stream grpc.ServerStreamingServer[rotav1.StreamLogsResponse]

	// begun: the first attempt was chosen. shown is the last attempt of which everything was sent, with how it ended.
	begun bool
	shown uint32
	// token is the attempt that is sent, and at the place behind what was sent of it. whole: its worker has sent all.
	token  uint64
	at     rotav1.LogPosition
	whole  bool
	number uint32
	worker string
	// resumed: another stream has sent the beginning, so that age and lines do not matter.
	resumed bool
	// waits and silent: the reader was told that the task has not begun, or that its worker sends nothing.
	waits, silent bool
}

// A cursor of the log of a task is a version, and the last attempt of which everything was sent.
const logCursorVersion = 1

func (w *logWriter) cursor() []byte {
	return binary.BigEndian.AppendUint32([]byte{logCursorVersion}, w.shown)
}

// resume goes on where another stream was lost.
func (w *logWriter) resume() error {
	if b := w.r.GetCursor(); len(b) > 0 {
		if len(b) != 5 || b[0] != logCursorVersion {
			return task.Errorf(task.KindInvalid, "malformed cursor: use one that a stream of this log has sent")
		}
		w.shown, w.begun, w.resumed = binary.BigEndian.Uint32(b[1:]), true, true
	}
	for _, p := range w.r.GetPositions() {
		w.token, w.resumed, w.begun = p.GetToken(), true, true
		w.at = rotav1.LogPosition{Index: w.index, Token: w.token, Stdout: p.GetStdout(), Stderr: p.GetStderr()}
	}
	return nil
}

func (w *logWriter) run(ctx context.Context) error {
	changed, stop := w.s.node.State().Watchers().Watch(w.job)
	defer stop()
	for {
		again, done, err := w.step(ctx)
		if err != nil {
			return err
		}
		if done {
			return w.stream.Send(&rotav1.StreamLogsResponse{Cursor: w.cursor(), Complete: true})
		}
		if err := w.pause(ctx, changed, again); err != nil {
			return err
		}
	}
}

// pause waits until the job has changed, but no less than logPace, and no longer than again if that is not 0.
func (w *logWriter) pause(ctx context.Context, changed <-chan struct{}, again time.Duration) error {
	least := time.NewTimer(logPace)
	defer least.Stop()
	var timeout <-chan time.Time
	if again > 0 {
		timer := time.NewTimer(again)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-changed:
	case <-timeout:
	case <-ctx.Done():
		return w.s.ended(ctx)
	}
	select {
	case <-least.C:
		return nil
	case <-ctx.Done():
		return w.s.ended(ctx)
	}
}

// step sends what there is. done: there will be no more. Otherwise there is more when the job has changed, or after
// again if that is not 0.
func (w *logWriter) step(ctx context.Context) (again time.Duration, done bool, err error) {
	t, ended, err := w.look(ctx)
	if err != nil {
		return 0, false, err
	}
	want := w.r.GetAttempt()
	live := t.State == rotav1.TaskState_TASK_STATE_ASSIGNED || t.State == rotav1.TaskState_TASK_STATE_STOPPING
	final := task.State(t.State).Final()
	if !w.begun {
		w.begun = true
		w.shown = firstAttempt(want, t, ended, live) - 1
	}
	for _, a := range ended {
		if a.Attempt <= w.shown || want != 0 && a.Attempt != want {
			continue
		}
		if err := w.finish(ctx, a); err != nil {
			return 0, false, err
		}
		if w.shown = a.Attempt; want != 0 {
			return 0, true, nil
		}
	}
	switch {
	case want > 0 && (t.Attempt > want || t.Attempt == want && !live) && w.shown < want:
		return 0, false, task.Errorf(task.KindNotFound, "nothing is kept of attempt %d of task %v", want, task.ID{Job: w.job, Index: w.index})
	case want > t.Attempt && (final || !w.r.GetFollow()):
		return 0, false, task.Errorf(task.KindNotFound, "task %v has no attempt %d: it has had %d", task.ID{Job: w.job, Index: w.index}, want, t.Attempt)
	case final:
		return 0, true, nil
	case live && (want == 0 || want == t.Attempt):
		return w.live(ctx, t)
	case !w.r.GetFollow():
		return 0, true, w.wait()
	}
	return 0, false, w.wait()
}

// firstAttempt is the attempt that a reader begins with.
func firstAttempt(want uint32, t *rotav1.Task, ended []*rotav1.TaskAttempt, live bool) uint32 {
	switch {
	case want != 0:
		return want
	case live:
		return max(1, t.Attempt)
	case len(ended) > 0:
		return max(1, ended[len(ended)-1].Attempt)
	}
	return 1
}

// look returns what has become of the task: its state, and the attempts that have ended.
func (w *logWriter) look(ctx context.Context) (t *rotav1.Task, ended []*rotav1.TaskAttempt, err error) {
	err = wire.Read(ctx, func() error {
		rec, err := w.s.node.State().Job(w.job)
		if err != nil {
			return err
		}
		if w.r.TaskIndex == nil && rec.Total > 1 {
			return task.Errorf(task.KindInvalid, "job %d has %d tasks: name one of them, such as %d.0", w.job, rec.Total, w.job)
		}
		if w.index >= rec.Total {
			return task.Errorf(task.KindNotFound, "job %d has no task %d (tasks: %d, counted from 0)", w.job, w.index, rec.Total)
		}
		var last *rotav1.TaskAttempt
		if t, last, err = w.s.stateOf(w.job, w.index); err != nil {
			return err
		}
		kept, err := w.s.node.State().Attempts(w.job, w.index, t.Attempt)
		if err != nil {
			return err
		}
		for _, a := range kept {
			ended = append(ended, attemptOf(a, w.index))
		}
		if last != nil {
			ended = append(ended, last)
		}
		return nil
	})
	return t, ended, err
}

// wait tells the reader that there is nothing to read yet.
func (w *logWriter) wait() error {
	if w.waits || w.token != 0 { // it has begun, and is tried again
		return nil
	}
	w.waits = true
	return w.sendChunk(&rotav1.LogChunk{Event: rotav1.LogEvent_LOG_EVENT_WAITING})
}

// begin begins with an attempt, unless that has begun already.
func (w *logWriter) begin(token uint64, number uint32, worker string) {
	if w.token != token {
		// Age and lines are for what there was when the reader came.
		w.resumed = w.resumed || w.token != 0
		w.token, w.whole, w.silent, w.waits = token, false, false, false
		w.at = rotav1.LogPosition{Index: w.index, Token: token}
	}
	w.number, w.worker = number, worker
}

// live sends the log of the attempt under way.
func (w *logWriter) live(ctx context.Context, t *rotav1.Task) (again time.Duration, done bool, err error) {
	w.begin(t.Token, t.Attempt, t.Worker)
	if w.whole {
		return 0, false, nil // its result is on its way
	}
	now, known := w.s.node.State().Machine().Task(w.job, w.index)
	if !known || now.Token != t.Token {
		return logPace, false, nil
	}
	reading, stop := w.untilOver(ctx, t.Token)
	defer stop()
	reason, err := w.read(reading, now.Session, w.r.GetFollow())
	switch {
	case ctx.Err() != nil:
		return 0, false, w.s.ended(ctx)
	case errors.Is(context.Cause(reading), errAttemptOver):
		return logPace, false, nil
	case errors.Is(context.Cause(reading), errImpatient):
		return 0, true, w.isSilent(errNotCalled)
	case task.KindOf(err) == task.KindUnavailable:
		return logAgain, false, nil // the stream ends because nobody has read it for long
	case task.KindOf(err) == task.KindUnsupported:
		// What is kept with the result comes when the attempt has ended.
		err = w.isSilent(err)
		return 0, !w.r.GetFollow(), err
	case err != nil:
		return 0, false, err
	}
	switch reason {
	case rotav1.LogEndReason_LOG_END_REASON_ENDED:
		w.whole = true
		return 0, !w.r.GetFollow(), nil
	case rotav1.LogEndReason_LOG_END_REASON_NO_MORE:
		return 0, true, nil
	case rotav1.LogEndReason_LOG_END_REASON_UNKNOWN:
		if !w.r.GetFollow() {
			return 0, true, w.sendChunk(&rotav1.LogChunk{Event: rotav1.LogEvent_LOG_EVENT_WAITING})
		}
	case rotav1.LogEndReason_LOG_END_REASON_TOO_MANY:
		return 0, false, task.Errorf(task.KindExhausted, "the worker has too many readers of its logs: try again later")
	}
	return logAgain, false, nil
}

// errAttemptOver ends a read of an attempt that has ended, and whose worker does not send the rest. errImpatient ends
// one that was not to wait.
var (
	errAttemptOver = errors.New("the attempt has ended")
	errImpatient   = errors.New("the worker does not answer in time")
)

// untilOver returns a context for the log of an attempt: it ends some time after the attempt.
func (w *logWriter) untilOver(ctx context.Context, token uint64) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	w.s.begun.Go(func() {
		look := time.NewTicker(logAgain)
		defer look.Stop()
		begun := time.Now()
		var over time.Time
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			}
			t, _ := w.s.node.State().Machine().Task(w.job, w.index)
			switch {
			case !w.r.GetFollow() && time.Since(begun) > logPatience:
				cancel(errImpatient)
			case t.Token == token && t.State.Held():
			case over.IsZero():
				over = time.Now()
			case time.Since(over) > lateLog:
				cancel(errAttemptOver)
			}
		}
	})
	return ctx, func() { cancel(nil) }
}

// isSilent tells the reader that the worker cannot be reached for its logs.
func (w *logWriter) isSilent(why error) error {
	if w.silent {
		return nil
	}
	w.silent = true
	note := ""
	if why != nil {
		note = why.Error()
	}
	return w.sendChunk(&rotav1.LogChunk{Event: rotav1.LogEvent_LOG_EVENT_SILENT, Note: note})
}

func (w *logWriter) sendChunk(c *rotav1.LogChunk) error {
	at := rotav1.LogPosition{Index: w.index, Token: w.token, Stdout: w.at.Stdout, Stderr: w.at.Stderr}
	c.Behind, c.Attempt, c.Worker = &at, w.number, w.worker
	return w.stream.Send(&rotav1.StreamLogsResponse{Chunks: []*rotav1.LogChunk{c}, Cursor: w.cursor()})
}
