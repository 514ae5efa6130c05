package transport

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// resultBytes is about how large a message of results is. A single result may be larger.
const resultBytes = 256 << 10

// StreamResults implements the job service. Any server serves it: the only state of a stream is a cursor into
// results that every server has.
func (s *Server) StreamResults(r *rotav1.StreamResultsRequest, stream grpc.ServerStreamingServer[rotav1.StreamResultsResponse]) error {
	if err := wire.CheckKnown(r); err != nil {
		return wire.ToStatus(err)
	}
	order := r.GetOrder()
	if order == rotav1.ResultOrder_RESULT_ORDER_UNSPECIFIED {
		order = rotav1.ResultOrder_RESULT_ORDER_COMPLETED
	}
	ctx, cancel := s.streamContext(stream.Context())
	defer cancel()
	if err := s.fresh(ctx, r.GetRead()); err != nil {
		return wire.ToStatus(err)
	}
	// Not before: a server that has just joined a restored cluster may not have its state yet.
	cursors := s.cursors(order)
	next, err := cursors.decode(r.GetCursor())
	if err != nil {
		return wire.ToStatus(err)
	}
	w := &resultWriter{s: s, job: r.GetJobId(), order: order, next: next, cursors: cursors, inputs: r.GetInputs(), stream: stream}
	w.nameStart = len(r.GetCursor()) == 0 && cursors.incarnation != nil
	return wire.ToStatus(s.within(ctx, func() error { return w.run(ctx, r.GetNoWait()) }))
}

// resultWriter is one stream of results.
type resultWriter struct {
	s     *Server
	job   uint64
	order rotav1.ResultOrder
	next  uint32
	// cursors makes the cursors of the stream. nameStart: the first message has that of its start, and nothing else, so that
	// clients have one of this incarnation for each place within the first results.
	cursors   cursors
	nameStart bool
	// inputs is for which results the client wants the inputs of their tasks. about is what it needs to know of the
	// job for that; nil once it is sent. asked: the record of the job was read for whether its tasks have payloads
	// of their own; own is the answer.
	inputs     rotav1.ResultInputs
	about      *rotav1.Job
	asked, own bool
	stream     grpc.ServerStreamingServer[rotav1.StreamResultsResponse]
}

func (w *resultWriter) run(ctx context.Context, noWait bool) error {
	changed, stop := w.s.node.State().Watchers().Watch(w.job)
	defer stop()
	if err := w.begin(); err != nil {
		return err
	}
	if w.nameStart {
		if err := w.stream.Send(&rotav1.StreamResultsResponse{Cursor: w.cursors.encode(w.next)}); err != nil {
			return err
		}
	}
	for {
		if err := w.drain(ctx); err != nil {
			return err
		}
		// Read after the results: if the job is final here, either all of its results are sent, or the next round
		// finds the rest.
		rec, err := w.s.node.State().Job(w.job)
		if err != nil {
			return err
		}
		complete := store.JobState(rec).Final() && w.next >= rec.Received
		if complete || noWait && w.next >= rec.Received {
			return w.finish(rec, complete)
		}
		if noWait && w.order == rotav1.ResultOrder_RESULT_ORDER_INDEX {
			return w.finish(rec, false)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return w.s.ended(ctx)
		}
	}
}

func (w *resultWriter) finish(rec *logpb.JobRecord, complete bool) error {
	var job *rotav1.Job
	err := wire.Read(w.stream.Context(), func() (err error) { job, err = w.s.jobOf(rec); return err })
	if err != nil {
		return err
	}
	return w.stream.Send(&rotav1.StreamResultsResponse{Cursor: w.cursors.encode(w.next), Complete: complete, Job: job})
}

// drain sends all results that there are now.
func (w *resultWriter) drain(ctx context.Context) error {
	in := w.s.node.State().InOrder(w.job) // it keeps what it has read, so it must not outlive this call
	for ctx.Err() == nil {
		var groups []*rotav1.ResultGroup
		var count uint32
		err := wire.Read(w.stream.Context(), func() (err error) {
			if w.order == rotav1.ResultOrder_RESULT_ORDER_COMPLETED {
				groups, count, err = w.completed()
			} else {
				groups, count, err = w.ordered(in)
			}
			return err
		})
		if err != nil || count == 0 {
			return err
		}
		w.next += count
		if err := w.stream.Send(&rotav1.StreamResultsResponse{Groups: groups, Cursor: w.cursors.encode(w.next), Job: w.about}); err != nil {
			return err
		}
		w.about = nil
	}
	return nil
}

// begin finds out what the client needs to know of the job as a whole.
func (w *resultWriter) begin() error {
	if w.inputs == rotav1.ResultInputs_RESULT_INPUTS_UNSPECIFIED {
		return nil
	}
	rec, err := w.s.node.State().Job(w.job)
	if err != nil {
		return err
	}
	if w.about, err = w.s.jobOf(rec); err != nil {
		return err
	}
	w.about.Spec.SharedPayload = nil
	return nil
}

// maxInputTasks bounds the tasks of a group with inputs: about 256 KiB of inputs.
const maxInputTasks = resultBytes / task.MaxInput

// wants says whether the client wants the inputs of results in a state.
func (w *resultWriter) wants(state uint32) bool {
	switch w.inputs {
	case rotav1.ResultInputs_RESULT_INPUTS_ALL:
		return true
	case rotav1.ResultInputs_RESULT_INPUTS_FAILED:
		return state == uint32(task.Failed)
	}
	return false
}

// addInputs adds to groups how the payloads of their tasks begin, if the client wants that.
func (w *resultWriter) addInputs(groups ...*rotav1.ResultGroup) error {
	for _, g := range groups {
		if !w.wants(uint32(g.State)) {
			continue
		}
		if !w.asked {
			// Only now: a job without tasks may still get either kind.
			rec, err := w.s.node.State().Job(w.job)
			if err != nil {
				return err
			}
			w.asked, w.own = true, rec.OwnPayloads
		}
		if !w.own {
			return nil
		}
		var err error
		if g.PackedInputs, err = w.s.node.State().AppendInputs(nil, w.job, wire.RangesFromProto(g.Ranges)); err != nil {
			return err
		}
	}
	return nil
}

// completed returns results from the cursor on, in the order in which they were recorded.
func (w *resultWriter) completed() (groups []*rotav1.ResultGroup, count uint32, err error) {
	segments, err := w.s.node.State().Segments(w.job, w.next, resultBytes)
	if err != nil {
		return nil, 0, err
	}
	size := 0
	for _, seg := range segments {
		if size > resultBytes {
			break
		}
		skip := w.next + count - seg.First
		limit := uint32(maxGroupTasks)
		if w.wants(seg.Segment.State) {
			limit = maxInputTasks
		}
		g, n := groupFrom(seg, skip, limit)
		if err := w.addInputs(g); err != nil {
			return nil, 0, err
		}
		groups = append(groups, g)
		count += n
		size += proto.Size(g)
		if skip+n < seg.Count {
			break
		}
	}
	return groups, count, nil
}

// maxGroupTasks bounds the tasks of one message, so that a client can take up a stream
// in the middle of a million cancelled tasks.
const maxGroupTasks = 64 << 10

// groupFrom returns the results of a segment after the first skip: at most limit tasks and about resultBytes, and
// how many tasks they are of.
func groupFrom(seg fsm.ResultSegment, skip, limit uint32) (g *rotav1.ResultGroup, count uint32) {
	g = groupOf(seg.Segment)
	if skip == 0 && seg.Count <= limit && len(seg.Segment.PackedOutputs) <= 2*resultBytes {
		return g, seg.Count
	}
	outputs, _ := task.PackSkip(g.PackedOutputs, int(skip))
	usages, _ := task.PackSkip(g.PackedUsage, int(skip))
	all := g.Ranges
	g.Ranges, g.PackedOutputs, g.PackedUsage = nil, nil, nil
	for _, r := range all {
		first, n := r.First, r.Count
		if skip >= n {
			skip -= n
			continue
		}
		first, n, skip = first+skip, n-skip, 0
		taken := uint32(0)
		for taken < n && count < limit && (count == 0 || len(g.PackedOutputs) < resultBytes) {
			if len(outputs) > 0 {
				_, rest, _ := task.PackNext(outputs)
				g.PackedOutputs = append(g.PackedOutputs, outputs[:len(outputs)-len(rest)]...)
				outputs = rest
			}
			if len(usages) > 0 {
				_, rest, _ := task.PackNext(usages)
				g.PackedUsage = append(g.PackedUsage, usages[:len(usages)-len(rest)]...)
				usages = rest
			}
			taken++
			count++
		}
		if taken > 0 {
			g.Ranges = append(g.Ranges, &rotav1.IndexRange{First: first, Count: taken})
		}
		if taken < n {
			break
		}
	}
	return g, count
}

// ordered returns results from the next index on, in index order.
func (w *resultWriter) ordered(in *store.InOrder) (groups []*rotav1.ResultGroup, count uint32, err error) {
	results, err := in.Next(w.next, fsm.PageTasks)
	if err != nil {
		return nil, 0, err
	}
	size := 0
	var last *logpb.Segment
	for i := range results {
		res := &results[i]
		if size > resultBytes {
			break
		}
		if res.Segment != last {
			last = res.Segment
			g := groupOf(&logpb.Segment{
				State: last.State, Reason: last.Reason, TokenOffset: last.TokenOffset, Granted: last.Granted, Attempt: last.Attempt,
				Worker: last.Worker, ExitCodePlusOne: last.ExitCodePlusOne, Error: last.Error, StderrTail: last.StderrTail, FinishedNs: last.FinishedNs,
				OutputMissing: last.OutputMissing, OutputHead: last.OutputHead, StderrMissing: last.StderrMissing,
			})
			groups = append(groups, g)
			size += proto.Size(g)
		}
		g := groups[len(groups)-1]
		if k := len(g.Ranges); k > 0 && g.Ranges[k-1].First+g.Ranges[k-1].Count == res.Index {
			g.Ranges[k-1].Count++
		} else {
			g.Ranges = append(g.Ranges, &rotav1.IndexRange{First: res.Index, Count: 1})
		}
		if len(last.PackedUsage) > 0 {
			g.PackedUsage = task.PackAppend(g.PackedUsage, res.Usage)
			size += len(res.Usage)
		}
		if len(last.PackedOutputs) > 0 {
			g.PackedOutputs = task.PackAppend(g.PackedOutputs, res.Output)
			size += len(res.Output)
		}
		count++
	}
	return groups, count, w.addInputs(groups...)
}
