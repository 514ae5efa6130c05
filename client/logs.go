package client

import (
	"context"
	"errors"
	"iter"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// LogStream is one of the outputs of a command.
type LogStream int

// The outputs of a command.
const (
	// BothStreams is what a reader gets who does not choose.
	BothStreams LogStream = iota
	StdoutStream
	StderrStream
)

// LogEvent is something that happened to a task while its log was read.
type LogEvent int

// The events of a log.
const (
	// LogWaiting: the task has not started. It is said once.
	LogWaiting LogEvent = iota + 1
	// LogEnded: an attempt has ended. Nothing more comes of it.
	LogEnded
	// LogSilent: the worker cannot be reached for its logs.
	LogSilent
)

// LogOptions is what to read of the log of a job. The zero value is what there is of all of it.
type LogOptions struct {
	// Task is the index of the only task to read; nil: all of them.
	Task *uint32
	// Attempt is the only one to read; 0: the newest one, and with Follow those after it.
	Attempt uint32
	Stream  LogStream
	// Since leaves out what is older; 0: nothing.
	Since time.Duration
	// Tail is how many lines of what there is to read of each task; nil: all.
	Tail *uint32
	// Follow waits for more, also for tasks that have not begun, until all have ended.
	Follow bool
}

// LogChunk is a piece of the log of an attempt, or an event.
type LogChunk struct {
	Task    task.ID
	Attempt uint32
	// Token is the fencing token of the attempt; 0: there is none yet.
	Token uint64
	// Worker is the name of the worker, its id if it has none.
	Worker string
	Stream LogStream
	// Data is what the command has printed; it need not end with a line. Missing is how many bytes of the stream stood
	// before it and are not kept any more.
	Data    []byte
	Missing uint64
	// At is when its worker has read the first byte; zero: not known.
	At time.Time
	// Event is something that happened; 0: this is a piece of the log. Note says more, for people.
	Event LogEvent
	Note  string
	// Ended is how the attempt has ended, with LogEnded.
	Ended *AttemptInfo
}

// Logs returns what the commands of the job print: while they run, or after that as far as it is kept. It goes on by
// itself where its server is lost, with no piece twice. It ends when all was read, and with Follow when the tasks have
// ended; an error ends it, and ctx does. The tasks of a job come in the order of their indexes; with Follow, up to 32 of
// them come at once.
func (j *Job) Logs(ctx context.Context, opts LogOptions) iter.Seq2[LogChunk, error] {
	return func(yield func(LogChunk, error) bool) {
		if opts.Task == nil {
			j.allLogs(ctx, opts, yield)
			return
		}
		a := j.c.attempts(ctx, call{op: j.op("read the log of"), safe: true, timeout: -1})
		r := &logReader{job: j.id, opts: opts, know: j.known(), at: map[uint32]*rotav1.LogPosition{}}
		for {
			s, err := a.next()
			if err != nil {
				yield(LogChunk{}, err)
				return
			}
			attempt, stop := a.begin(s)
			err = r.read(attempt, s, a, yield)
			moved := errors.Is(context.Cause(attempt), errNewLeader)
			stop()
			if errors.Is(err, errDone) {
				return
			}
			if err := a.failed(err, moved); err != nil {
				yield(LogChunk{}, err)
				return
			}
		}
	}
}

// logReader reads streams of the logs of one job, one after the other.
type logReader struct {
	job  uint64
	opts LogOptions
	know *rotav1.ReadOptions
	// cursor and at are where the next stream goes on: what has ended, and how far what has not was read.
	cursor []byte
	at     map[uint32]*rotav1.LogPosition
}

func (r *logReader) request() *rotav1.StreamLogsRequest {
	req := &rotav1.StreamLogsRequest{
		JobId: r.job, TaskIndex: r.opts.Task, Attempt: r.opts.Attempt, Stream: rotav1.LogStream(r.opts.Stream), Tail: r.opts.Tail,
		Follow: r.opts.Follow, Cursor: r.cursor, Read: r.know,
	}
	if r.opts.Since > 0 {
		req.Since = durationpb.New(r.opts.Since)
	}
	for _, p := range r.at {
		req.Positions = append(req.Positions, p)
	}
	return req
}

// read reads one stream until it breaks, or errDone.
func (r *logReader) read(ctx context.Context, s *server, a *attempts, yield func(LogChunk, error) bool) error {
	stream, err := s.jobs.StreamLogs(ctx, r.request())
	if err != nil {
		return err
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			return err
		}
		a.progress()
		for _, c := range msg.GetChunks() {
			if !yield(r.chunk(c), nil) {
				return errDone
			}
		}
		r.cursor = msg.GetCursor()
		if msg.GetComplete() {
			return errDone
		}
	}
}

// chunk translates a piece, and notes how far it goes.
func (r *logReader) chunk(c *rotav1.LogChunk) LogChunk {
	p := c.GetBehind()
	out := LogChunk{
		Task: task.ID{Job: r.job, Index: p.GetIndex()}, Attempt: c.GetAttempt(), Token: p.GetToken(), Worker: c.GetWorker(),
		Stream: LogStream(c.GetStream()), Data: c.GetData(), Missing: c.GetMissing(), At: moment(c.GetAt()),
		Event: LogEvent(c.GetEvent()), Note: c.GetNote(),
	}
	switch {
	case out.Event == LogEnded:
		if c.GetEnded() != nil {
			ended := attemptInfo(c.GetEnded())
			out.Ended = &ended
		}
		delete(r.at, p.GetIndex())
	case p.GetToken() != 0:
		r.at[p.GetIndex()] = p
	}
	return out
}
