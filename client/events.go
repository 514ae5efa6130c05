package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// Event is something that happened in the cluster. Fields that its kind does not have are zero.
type Event struct {
	Kind task.EventKind
	// At is the time of the log, and Index its index.
	At    time.Time
	Index uint64
	// Job is the first of Jobs jobs with consecutive ids, which have Tasks tasks together.
	Job   uint64
	Jobs  uint32
	Tasks uint64
	// Task is the index of the one task that is asked to end; nil: it is the whole job.
	Task *uint32
	// RetryOf is the job that this one retries; 0: none.
	RetryOf uint64
	// Name is that of the only job, Queue that of all of them.
	Name, Queue string
	// State is that of jobs that have ended; 0: they have not.
	State  task.JobState
	Reason task.Reason
	// Session is that of a worker, which has an id and a name. It had Tasks tasks. Graceful: the worker has ended in good order.
	Session              uint64
	WorkerID, WorkerName string
	Graceful             bool
	// Server is the node id of a server, and Addr its gRPC address.
	Server, Addr string
	// Version is the active version of the log.
	Version uint32
	// Count is how many events are not there; 0: it is not known.
	Count uint32

	cursor []byte
}

// Cursor returns where Events goes on behind this event, also in another process and at another server.
func (e *Event) Cursor() []byte { return e.cursor }

// EventsOptions says which events are wanted.
type EventsOptions struct {
	// Cursor is that of the last event that was seen; empty: Newest says where to begin.
	Cursor []byte
	// Newest is with how many of the newest events to begin.
	Newest uint32
	// Follow goes on with what happens, until the context ends.
	Follow bool
	// Kinds, Queue and Job narrow what is returned; zero: all. Events of the kinds task.EventMore and task.EventLost are always returned.
	Kinds []task.EventKind
	Queue string
	Job   uint64
}

// Events returns what has happened, and with Follow what happens. After a failover it goes on at another server by itself, with no
// gap and no event twice. Servers keep the newest events only: if some are not there any more, it returns an event of the kind
// task.EventLost in their place.
func (c *Client) Events(ctx context.Context, opts EventsOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		a := c.attempts(ctx, call{op: "follow the events", safe: true, timeout: -1})
		r := &eventReader{request: &rotav1.WatchRequest{Cursor: opts.Cursor, Newest: opts.Newest, Follow: opts.Follow, Queue: opts.Queue, JobId: opts.Job}}
		for _, k := range opts.Kinds {
			r.request.Kinds = append(r.request.Kinds, rotav1.EventKind(k))
		}
		for {
			s, err := a.next()
			if err != nil {
				yield(Event{}, err)
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
				yield(Event{}, err)
				return
			}
		}
	}
}

// eventReader reads streams of events, one after the other.
type eventReader struct {
	// request has the cursor behind all that was read.
	request *rotav1.WatchRequest
}

// read reads one stream until it breaks, or errDone.
func (r *eventReader) read(ctx context.Context, s *server, a *attempts, yield func(Event, error) bool) error {
	stream, err := s.events.Watch(ctx, r.request)
	if err != nil {
		return err
	}
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) && !r.request.GetFollow() {
			return errDone
		}
		if err != nil {
			return err
		}
		if len(msg.GetCursor()) == 0 {
			return malformed("a message of events has no cursor")
		}
		a.progress()
		for _, e := range msg.GetEvents() {
			one, err := eventOf(e)
			if err != nil {
				return err
			}
			r.request.Cursor = e.GetCursor()
			if !yield(one, nil) {
				return errDone
			}
		}
		r.request.Cursor = msg.GetCursor()
	}
}

// eventOf turns an event into what callers see. A kind that this build does not know is one of a newer server: it has no meaning here, but
// whoever follows should see that there is one.
func eventOf(e *rotav1.Event) (Event, error) {
	if len(e.GetCursor()) == 0 {
		return Event{}, malformed("an event has no cursor")
	}
	kind, _ := wire.EventKindFromProto(e.GetKind())
	out := Event{
		Kind: kind, Index: e.GetIndex(), Job: e.GetJobId(), Jobs: e.GetJobs(), Tasks: e.GetTasks(), Task: e.TaskIndex, RetryOf: e.GetRetryOf(),
		Name: e.GetName(), Queue: e.GetQueue(), Session: e.GetSessionId(), WorkerID: e.GetWorkerId(), WorkerName: e.GetWorkerName(), Graceful: e.GetGraceful(),
		Server: e.GetServer(), Addr: e.GetAddr(), Version: e.GetVersion(), Count: e.GetCount(), cursor: e.GetCursor(),
	}
	if e.GetHappenedAt() != nil {
		out.At = e.GetHappenedAt().AsTime()
	}
	var err error
	if e.GetState() != rotav1.JobState_JOB_STATE_UNSPECIFIED {
		if out.State, err = wire.JobStateFromProto(e.GetState()); err != nil {
			return Event{}, fmt.Errorf("an event at index %d: %w", e.GetIndex(), err)
		}
	}
	out.Reason, err = wire.ReasonFromProto(e.GetReason())
	return out, err
}
