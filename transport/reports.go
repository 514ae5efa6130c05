package transport

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/scheduler"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// Bounds of the reports of a stream that are unanswered: they wait for the log, or their answers wait to be sent. Beyond
// that the stream is not read. A worker has at most two messages of about 256 KiB under way.
const (
	maxUnansweredReports = 64
	// maxUnansweredTasks is two of the largest reports.
	maxUnansweredTasks = 2 * fsm.MaxReported
	// maxUnansweredBytes has room for several of the largest messages that workers send, or for one of the largest that
	// a server takes.
	maxUnansweredBytes = 4 << 20
)

// reportGroupBytes and reportRangeBytes are about the memory of a group and of a range.
const reportGroupBytes, reportRangeBytes = 256, 64

// reports takes the reports of a worker. If its session holds none of the tasks, the answer goes out at once, else when the
// reports are committed. If the outcome is not known, the stream ends and the worker sends them again.
func (s *Server) reports(ctx context.Context, out *sendStream, r *rotav1.Reports) error {
	began := time.Now()
	groups, cost, err := reportsOf(r, s.rules())
	if err != nil {
		return err
	}
	if err := out.room.take(ctx, cost); err != nil {
		return err
	}
	out.holding.Take(int64(cost.bytes))
	s.node.Fleet().Reporting(out.session, out)
	sorted, exceptions, err := s.sortOut(ctx, out.session, groups)
	if err != nil {
		return err
	}
	answer := func(exceptions []fsm.Exception) {
		s.refused.Add(int64(fsm.Excepted(exceptions)))
		out.answer(reportsAnswer(r.Seq, exceptions), cost)
		s.node.Fleet().Reported(out.session, out)
	}
	if len(sorted.Held) == 0 {
		answer(exceptions)
		return nil
	}
	var runs []scheduler.Run
	recorded := uint64(0)
	for i, g := range r.Groups {
		recorded += uint64(sorted.Counts[i])
		if n := sorted.Counts[i]; n > 0 && g.RunNs > 0 {
			runs = append(runs, scheduler.Run{Job: g.JobId, Count: n, Total: time.Duration(g.RunNs)})
			s.measures.run.AddN(time.Duration(g.RunNs)/time.Duration(n), uint64(n))
		}
	}
	s.node.Fleet().Ran(out.session, runs...)
	if slices.ContainsFunc(sorted.Held, func(g *logpb.ReportGroup) bool { return g.Outcome == uint32(task.OutcomeReturned) }) {
		s.node.Fleet().GaveBack(out.session)
	}
	op := &logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: out.session, Groups: sorted.Held}}}
	s.proposeWhenRoom(ctx, op, func(res fsm.Result, err error) {
		if err != nil {
			s.log.Debug("reports were not recorded", "session", out.session, "error", err)
			out.cancel()
			return
		}
		s.measures.result.AddN(time.Since(began), recorded)
		answer(append(exceptions, res.Exceptions...))
	})
	return nil
}

// noRoomPause is the pause before an op is proposed again that found no room in the log, if the refusal gives none.
const noRoomPause = 50 * time.Millisecond

// proposeWhenRoom is ProposeAsync for ops that a connected worker waits for. If the log has no room, the op waits. Were it
// refused instead, the worker would attach again at once, send all its reports, and have all that it holds sent again.
// An op that waits counts against the room of its stream.
func (s *Server) proposeWhenRoom(ctx context.Context, op *logpb.Op, done func(fsm.Result, error)) {
	s.node.ProposeAsync(op, func(r fsm.Result, err error) {
		var refused *task.Error
		if !errors.As(err, &refused) || refused.Kind != task.KindExhausted || ctx.Err() != nil {
			done(r, err)
			return
		}
		time.AfterFunc(max(refused.RetryAfter, noRoomPause), func() { s.proposeWhenRoom(ctx, op, done) })
	})
}

// sortOut finds out which tasks of a report its session holds, as far as this server has applied the log: it has applied at
// least what it has granted. Higher tokens may be from a leader after this one, so sortOut first makes sure that there is
// none.
func (s *Server) sortOut(ctx context.Context, session uint64, groups []*logpb.ReportGroup) (*fsm.SortedOut, []fsm.Exception, error) {
	sorted, exceptions, err := s.node.State().SortOut(session, groups)
	if err != nil || !sorted.Ahead {
		return sorted, exceptions, err
	}
	if err := s.node.Barrier(ctx); err != nil {
		return nil, nil, err
	}
	return s.node.State().SortOut(session, groups)
}

func reportsAnswer(seq uint64, exceptions []fsm.Exception) *rotav1.SessionResponse {
	answer := &rotav1.ReportsAnswer{Seq: seq}
	for _, e := range exceptions {
		answer.Exceptions = append(answer.Exceptions, &rotav1.ReportException{
			JobId: e.Job, Index: e.First, Count: e.Count, Token: uint64(int64(e.First) + e.TokenOffset), Verdict: rotav1.ReportVerdict(e.Verdict),
		})
	}
	return &rotav1.SessionResponse{Message: &rotav1.SessionResponse_ReportsAnswer{ReportsAnswer: answer}}
}

// reportsOf checks a message of reports.
func reportsOf(r *rotav1.Reports, rules *task.Rules) ([]*logpb.ReportGroup, cost, error) {
	groups, c := make([]*logpb.ReportGroup, 0, len(r.Groups)), cost{messages: 1}
	for _, g := range r.Groups {
		group, n, err := reportOf(g, rules)
		if err != nil {
			return nil, cost{}, err
		}
		if c.tasks += n; c.tasks > fsm.MaxReported {
			return nil, cost{}, task.Errorf(task.KindTooLarge, "a report of more than %d tasks: use several", fsm.MaxReported)
		}
		c.bytes += reportGroupBytes + reportRangeBytes*len(group.Ranges) + len(group.PackedOutputs) + len(group.PackedUsage) + len(group.StderrTail) + len(group.Error)
		groups = append(groups, group)
	}
	return groups, c, nil
}

// reportOf checks one group of a report. The rules are those of the active version.
func reportOf(g *rotav1.ReportGroup, rules *task.Rules) (*logpb.ReportGroup, int, error) {
	ranges, err := rangesOf(g.GetRanges())
	if err != nil {
		return nil, 0, err
	}
	count := 0
	for _, r := range ranges {
		count += int(r.Count)
	}
	outcome, err := wire.OutcomeFromProto(g.GetOutcome())
	if err != nil {
		return nil, 0, err
	}
	reason, err := wire.ReasonFromProto(g.GetReason())
	if err != nil {
		return nil, 0, err
	}
	switch {
	case count == 0 || count > task.MaxTasks:
		return nil, 0, task.Errorf(task.KindInvalid, "a report of %d tasks", count)
	case len(g.GetPackedOutputs()) > 0:
		if err := task.PackCheck(g.PackedOutputs, count, task.MaxPayload); err != nil {
			return nil, 0, err
		}
	}
	if len(g.GetPackedUsage()) > 0 {
		if err := task.PackCheck(g.PackedUsage, count, task.MaxUsage); err != nil {
			return nil, 0, task.Errorf(task.KindInvalid, "what tasks have used is malformed: %v", err)
		}
	}
	out := &logpb.ReportGroup{
		Job: g.GetJobId(), TokenOffset: g.GetTokenOffset(), Ranges: ranges, Outcome: uint32(outcome), Reason: uint32(reason),
		Error: cutString(g.GetError(), task.MaxError), StderrTail: g.GetStderrTail(), PackedOutputs: g.GetPackedOutputs(), Permanent: g.GetPermanent(),
		PackedUsage:   g.GetPackedUsage(),
		OutputMissing: g.GetOutputMissing(), OutputHead: min(g.GetOutputHead(), task.MaxPayload),
	}
	cut := max(0, len(out.StderrTail)-rules.MaxStderrTail)
	if cut > 0 {
		out.StderrTail = bytes.Clone(out.StderrTail[cut:])
	}
	if rules.MaxStderrTail == task.MaxStderrTail { // the active version knows the field
		out.StderrMissing = g.GetStderrMissing() + uint64(cut)
	}
	if g.ExitCode != nil {
		out.ExitCodePlusOne = *g.ExitCode + 1
	}
	return out, count, nil
}

// cutString shortens a text that is too long, and does not cut through a character: the log takes only UTF-8. It returns
// a copy, because a part of a text keeps all of it in memory.
func cutString(s string, limit int) string {
	if len(s) > limit {
		return strings.Clone(strings.ToValidUTF8(s[:limit], ""))
	}
	return s
}
