package transport

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// maxEventStreams bounds the streams of events that a server serves. Each looks at every event, while people and a few
	// programs follow them.
	maxEventStreams = 64
	// eventBatch is how many events are looked at for one message, and eventBytes about how large the message may become.
	eventBatch = 256
	eventBytes = 64 << 10
	// quietEvents is after how many events that were not asked for a client is told how far it is. Otherwise, when it goes on
	// elsewhere, it might ask for what is not there any more.
	quietEvents = 1024
	// maxEventKinds bounds the kinds that a request names.
	maxEventKinds = 64
)

// A cursor of events is a version, the beginning of the hash of the cluster's id, and a place. Clients must not look
// into it. A cursor of another cluster would otherwise be a place like any other.
const (
	eventCursorVersion = 1
	clusterMarkBytes   = 8
	eventCursorBytes   = 1 + clusterMarkBytes + 8 + 4
)

// clusterMark tells clusters apart.
func clusterMark(clusterID string) []byte {
	sum := sha256.Sum256([]byte(clusterID))
	return sum[:clusterMarkBytes]
}

func encodeEventCursor(mark []byte, at fsm.EventPlace) []byte {
	b := make([]byte, 0, eventCursorBytes)
	b = append(append(b, eventCursorVersion), mark...)
	b = binary.BigEndian.AppendUint64(b, at.Index)
	return binary.BigEndian.AppendUint32(b, at.Number)
}

func decodeEventCursor(mark, b []byte) (at fsm.EventPlace, err error) {
	switch {
	case len(b) != eventCursorBytes || b[0] != eventCursorVersion:
		return at, task.Errorf(task.KindInvalid, "malformed cursor: use one that an event had")
	case !bytes.Equal(b[1:1+clusterMarkBytes], mark):
		return at, task.Errorf(task.KindConflict, "the cursor is of another cluster: begin without one")
	}
	b = b[1+clusterMarkBytes:]
	return fsm.EventPlace{Index: binary.BigEndian.Uint64(b), Number: binary.BigEndian.Uint32(b[8:])}, nil
}

// Watch implements the event service. Any server serves it, from the entries that it has applied.
func (s *Server) Watch(r *rotav1.WatchRequest, stream grpc.ServerStreamingServer[rotav1.WatchResponse]) error {
	if err := wire.CheckKnown(r); err != nil {
		return wire.ToStatus(err)
	}
	if s.eventStreams.Add(1) > maxEventStreams {
		s.eventStreams.Add(-1)
		return wire.ToStatus(task.Errorf(task.KindExhausted, "%d clients follow the events of this server, the limit: ask another server", maxEventStreams))
	}
	defer s.eventStreams.Add(-1)
	ctx, cancel := s.streamContext(stream.Context())
	defer cancel()
	w, err := s.newEventWriter(r, stream)
	if err != nil {
		return wire.ToStatus(err)
	}
	return wire.ToStatus(s.within(ctx, func() error { return w.run(ctx, r.GetFollow()) }))
}

// eventWriter is one stream of events.
type eventWriter struct {
	s      *Server
	stream grpc.ServerStreamingServer[rotav1.WatchResponse]
	events *fsm.Events
	mark   []byte
	// at is behind what was looked at. quiet counts the events since the last message that were not asked for.
	at    fsm.EventPlace
	quiet int
	wants eventFilter
}

// eventFilter is which events a client wants.
type eventFilter struct {
	// kinds has a bit for each; 0: all.
	kinds uint64
	queue string
	job   uint64
}

func (s *Server) newEventWriter(r *rotav1.WatchRequest, stream grpc.ServerStreamingServer[rotav1.WatchResponse]) (*eventWriter, error) {
	clusterID := s.node.State().Machine().ClusterID()
	if clusterID == "" {
		return nil, task.Errorf(task.KindUnavailable, "this server is part of no cluster yet, and knows of no events")
	}
	w := &eventWriter{s: s, stream: stream, events: s.node.State().Watchers().Events(), mark: clusterMark(clusterID), wants: eventFilter{queue: r.GetQueue(), job: r.GetJobId()}}
	if len(r.GetKinds()) > maxEventKinds {
		return nil, task.Errorf(task.KindTooLarge, "%d kinds of events, the limit is %d", len(r.GetKinds()), maxEventKinds)
	}
	for _, k := range r.GetKinds() {
		kind, err := wire.EventKindFromProto(k)
		if err != nil {
			return nil, err
		}
		w.wants.kinds |= 1 << kind
	}
	var err error
	if len(r.GetCursor()) > 0 {
		w.at, err = decodeEventCursor(w.mark, r.GetCursor())
	} else {
		w.at = w.events.Newest(int(r.GetNewest()))
	}
	return w, err
}

// run sends events until the client, or the server, ends the stream, or until all that have happened are sent.
func (w *eventWriter) run(ctx context.Context, follow bool) error {
	for {
		changed := w.events.Changed()
		more, err := w.send()
		switch {
		case err != nil:
			return err
		case more:
			if ctx.Err() != nil {
				return w.s.ended(ctx)
			}
			continue
		case !follow:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return w.s.ended(ctx)
		}
	}
}

// send sends a message of events, if there are any; more says that there may be others.
func (w *eventWriter) send() (more bool, err error) {
	events, lost, missed := w.events.Read(w.at, eventBatch)
	m := &rotav1.WatchResponse{}
	if missed {
		m.Events = append(m.Events, &rotav1.Event{
			Kind: rotav1.EventKind(task.EventLost), Index: lost.Index, Cursor: encodeEventCursor(w.mark, lost),
		})
		w.at = lost
	}
	size := 0
	for i := range events {
		if size > eventBytes {
			break
		}
		w.at = events[i].At
		if !w.wants.match(&events[i]) {
			w.quiet++
			continue
		}
		one := w.eventOf(&events[i])
		size += proto.Size(one)
		m.Events = append(m.Events, one)
	}
	if len(m.Events) == 0 && w.quiet < quietEvents {
		return len(events) > 0, nil
	}
	m.Cursor, w.quiet = encodeEventCursor(w.mark, w.at), 0
	return len(events) > 0, w.stream.Send(m)
}

// match says whether a client wants an event. It must hear of all that it misses.
func (f *eventFilter) match(e *fsm.Event) bool {
	switch {
	case e.Kind == task.EventMore:
		return true
	case f.kinds != 0 && f.kinds&(1<<e.Kind) == 0, f.queue != "" && e.Queue != f.queue:
		return false
	}
	return f.job == 0 || f.job >= e.Job && f.job < e.Job+uint64(e.Jobs)
}

// eventOf is an event as clients see it.
func (w *eventWriter) eventOf(e *fsm.Event) *rotav1.Event {
	out := &rotav1.Event{
		Kind: rotav1.EventKind(e.Kind), HappenedAt: stamp(e.TimeNs), Index: e.At.Index, Cursor: encodeEventCursor(w.mark, e.At),
		JobId: e.Job, Jobs: e.Jobs, Tasks: e.Tasks, RetryOf: e.RetryOf, Name: e.Name, Queue: e.Queue,
		State: wire.JobStateToProto(e.State), Reason: wire.ReasonToProto(e.Reason),
		SessionId: e.Session, WorkerId: e.Worker, WorkerName: e.WorkerName, Graceful: e.Stopped,
		Server: e.Node, Addr: e.Addr, Version: e.Version, Count: e.Count,
	}
	if e.One {
		out.TaskIndex = proto.Uint32(e.Task)
	}
	return out
}
