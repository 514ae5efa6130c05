package transport

import (
	"bytes"
	"context"
	"errors"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// endedPatience is how long to wait for a worker that may still have the log of an attempt that has ended.
	endedPatience = 2 * time.Second
	// maxNamed bounds the workers of one name that are asked for a log: results have the names of workers, not their
	// sessions.
	maxNamed = 4
)

// read sends the log of the attempt under way, as its worker has it, from where this writer is.
func (w *logWriter) read(ctx context.Context, session uint64, follow bool) (rotav1.LogEndReason, error) {
	l, err := w.s.logsOf(ctx, session, func(why error) error {
		if !w.r.GetFollow() {
			return nil
		}
		return w.isSilent(why)
	})
	if err != nil {
		return 0, err
	}
	return w.readFrom(ctx, l, follow)
}

// readWithin is read for an attempt that has ended. It waits for the worker's stream for some time only; once that is
// there, it goes at the pace of its reader.
func (w *logWriter) readWithin(ctx context.Context, session uint64, patience time.Duration) (rotav1.LogEndReason, error) {
	asking, cancel := context.WithTimeoutCause(ctx, patience, errImpatient)
	defer cancel()
	l, err := w.s.logsOf(asking, session, func(error) error { return nil })
	if err != nil {
		return 0, err
	}
	return w.readFrom(ctx, l, false)
}

func (w *logWriter) readFrom(ctx context.Context, l *logStream, follow bool) (rotav1.LogEndReason, error) {
	m := &rotav1.LogRead{
		JobId: w.job, Index: w.index, Token: w.token, Stream: w.r.GetStream(), Stdout: w.at.Stdout, Stderr: w.at.Stderr, Follow: follow,
	}
	if !w.resumed && w.at.Stdout+w.at.Stderr == 0 {
		m.Since, m.Tail = w.r.GetSince(), w.r.Tail
	}
	r, err := l.read(m)
	if err != nil {
		return 0, err
	}
	defer r.close()
	holding := wire.HoldingOf(w.stream.Context())
	holding.Take(logCredit)
	defer holding.End()
	for {
		m, reason, err := r.next(ctx)
		if m == nil {
			return reason, err
		}
		if err := w.forward(m); err != nil {
			return 0, err
		}
	}
}

// forward sends what a worker has sent. The reader gets only what it wants.
func (w *logWriter) forward(m *rotav1.LogData) error {
	w.silent, w.waits = false, false
	for _, gap := range []struct {
		stream rotav1.LogStream
		bytes  uint64
		at     *uint64
	}{
		{rotav1.LogStream_LOG_STREAM_STDOUT, m.GetMissingStdout(), &w.at.Stdout},
		{rotav1.LogStream_LOG_STREAM_STDERR, m.GetMissingStderr(), &w.at.Stderr},
	} {
		*gap.at += gap.bytes
		if gap.bytes > 0 && w.wants(gap.stream) {
			if err := w.sendChunk(&rotav1.LogChunk{Stream: gap.stream, Missing: gap.bytes}); err != nil {
				return err
			}
		}
	}
	w.at.Stdout, w.at.Stderr = m.GetStdout(), m.GetStderr()
	if len(m.GetData()) == 0 || !w.wants(m.GetStream()) {
		return nil
	}
	return w.sendChunk(&rotav1.LogChunk{Stream: m.GetStream(), Data: m.GetData(), At: m.GetAt()})
}

func (w *logWriter) wants(s rotav1.LogStream) bool {
	return w.r.GetStream() == rotav1.LogStream_LOG_STREAM_UNSPECIFIED || w.r.GetStream() == s
}

// finish sends what is missing of an attempt that has ended, and how it has ended.
func (w *logWriter) finish(ctx context.Context, a *rotav1.TaskAttempt) error {
	w.begin(a.Token, a.Attempt, a.Worker)
	if !w.whole {
		if err := w.fromWorker(ctx, a.Worker); err != nil {
			return err
		}
	}
	if !w.whole {
		if err := w.fromResult(a); err != nil {
			return err
		}
	}
	w.shown = a.Attempt
	return w.sendChunk(&rotav1.LogChunk{Event: rotav1.LogEvent_LOG_EVENT_ENDED, Ended: a})
}

// fromWorker sends the log as long as a worker has it.
func (w *logWriter) fromWorker(ctx context.Context, name string) error {
	var sessions []uint64
	err := wire.Walk(ctx, func() error { sessions = w.s.sessionsNamed(name); return nil })
	if err != nil {
		return err
	}
	for _, id := range sessions {
		reason, err := w.readWithin(ctx, id, endedPatience)
		switch {
		case ctx.Err() != nil:
			return w.s.ended(ctx)
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), task.KindOf(err) == task.KindUnavailable, task.KindOf(err) == task.KindUnsupported, task.KindOf(err) == task.KindExhausted:
			continue
		case err != nil:
			return err
		}
		if reason == rotav1.LogEndReason_LOG_END_REASON_ENDED || reason == rotav1.LogEndReason_LOG_END_REASON_NO_MORE {
			w.whole = true
			return nil
		}
	}
	return nil
}

// sessionsNamed returns open sessions of workers with a name, or that have it as their id.
func (s *Server) sessionsNamed(name string) (out []uint64) {
	after := ""
	for name != "" {
		sessions := s.node.State().Machine().SessionsBehind(after, scanBatch)
		for _, session := range sessions {
			if session.Name == name || session.Worker == name {
				if out = append(out, session.Id); len(out) == maxNamed {
					return out
				}
			}
		}
		if len(sessions) < scanBatch {
			return out
		}
		after = sessions[len(sessions)-1].Worker
	}
	return nil
}

// fromResult sends what is kept with the result of an attempt, as far as the reader does not have it.
func (w *logWriter) fromResult(a *rotav1.TaskAttempt) error {
	at := a.EndedAt
	if w.r.GetSince() != nil && !w.resumed && at != nil && time.Since(at.AsTime()) > w.r.GetSince().AsDuration() {
		return nil // all of it is older
	}
	var output []byte
	var missing uint64
	head := 0
	if a.State != rotav1.TaskState_TASK_STATE_UNSPECIFIED { // others leave their standard error only
		results, err := w.s.node.State().Ordered(w.job, w.index, 1)
		if err != nil {
			return err
		}
		if len(results) > 0 {
			output, missing, head = results[0].Output, results[0].Segment.OutputMissing, int(min(uint64(results[0].Segment.OutputHead), uint64(len(results[0].Output))))
		}
	}
	if missing == 0 {
		head = len(output)
	}
	if w.resumed || w.r.Tail == nil || missing == 0 || !hasLines(output[head:], int(w.r.GetTail())) {
		if err := w.sendKept(rotav1.LogStream_LOG_STREAM_STDOUT, &w.at.Stdout, 0, output[:head]); err != nil {
			return err
		}
	}
	if err := w.sendKept(rotav1.LogStream_LOG_STREAM_STDOUT, &w.at.Stdout, uint64(head)+missing, output[head:]); err != nil {
		return err
	}
	return w.sendKept(rotav1.LogStream_LOG_STREAM_STDERR, &w.at.Stderr, a.StderrMissing, a.StderrTail)
}

// sendKept sends bytes of a stream that stood behind others, without those that the reader has. at is how many it has.
func (w *logWriter) sendKept(s rotav1.LogStream, at *uint64, from uint64, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	fresh, end := *at == 0 && !w.resumed, from+uint64(len(data))
	gap := uint64(0)
	switch {
	case *at < from:
		gap = from - *at
	case *at-from >= uint64(len(data)):
		return nil
	default:
		data = data[*at-from:]
	}
	*at = end
	if fresh && w.r.Tail != nil {
		if last := lastLines(data, int(w.r.GetTail())); len(last) < len(data) || gap > 0 && len(last) == 0 {
			data, gap = last, 0
		}
	}
	if !w.wants(s) {
		return nil
	}
	for len(data) > 0 || gap > 0 {
		n := min(len(data), wire.MaxLogData)
		if err := w.sendChunk(&rotav1.LogChunk{Stream: s, Data: data[:n], Missing: gap}); err != nil {
			return err
		}
		data, gap = data[n:], 0
	}
	return nil
}

// hasLines says whether a text has so many lines. Its beginning may not be that of a line.
func hasLines(b []byte, lines int) bool {
	return lines == 0 || len(b) > 0 && bytes.Count(bytes.TrimSuffix(b, []byte{'\n'}), []byte{'\n'})+1 >= lines
}

// lastLines is the last lines of a text.
func lastLines(b []byte, lines int) []byte {
	if lines == 0 {
		return nil
	}
	end := len(bytes.TrimSuffix(b, []byte{'\n'}))
	for from := end; ; {
		i := bytes.LastIndexByte(b[:from], '\n')
		if i < 0 {
			return b
		}
		if lines--; lines == 0 {
			return b[i+1:]
		}
		from = i
	}
}
