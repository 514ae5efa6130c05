package fsm

import (
	"bytes"
	"strings"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// report applies the groups of the report of a session. A task is decided by the session that
// holds it and by its token: nobody else may end the attempt.
func (m *Machine) report(session uint64, groups []*logpb.ReportGroup, r *Result) {
	for _, g := range groups {
		m.reportGroup(session, g, r)
	}
	m.wake = true
}

// reportGroup applies one group. Tasks that the session does not hold under their tokens
// become exceptions; the others are recorded all the same.
func (m *Machine) reportGroup(session uint64, g *logpb.ReportGroup, r *Result) {
	v := m.newVerdicts(session, g)
	w := &segmentWriter{m: m, j: v.j, g: g}
	outcome, outputs, usage := task.Outcome(g.Outcome), g.PackedOutputs, g.PackedUsage
	v.sort(func(first, count uint32) {
		for i := first; i < first+count; i++ {
			var output []byte
			if len(outputs) > 0 {
				// Checked before it was proposed; what is missing reads as empty.
				output, outputs, _ = task.PackNext(outputs)
			}
			if len(g.PackedUsage) > 0 {
				w.usage, usage, _ = task.PackNext(usage)
			}
			m.endAttempt(v.j, i, outcome, g, output, w)
		}
	}, func(_, count uint32) {
		outputs, _ = task.PackSkip(outputs, int(count))
		usage, _ = task.PackSkip(usage, int(count))
	})
	w.close()
	// The disk answers, or ends this server.
	r.Exceptions, _ = v.settle(r.Exceptions, m.askHistory)
}

// askHistory is an asker that does not fail.
func (m *Machine) askHistory(job uint64, tasks []task.Range, f func(task.Range, LastToken)) error {
	m.history.Tokens(job, tasks, f)
	return nil
}

// current says whether token is the one under which a session holds task i now.
func (m *Machine) current(session uint64, j *job, i uint32, token int64) bool {
	if i >= j.total {
		return false
	}
	s, _ := j.slot(i)
	return s != nil && s.heldBy(session, token)
}

// heldBy says whether a session holds the task under token.
func (s *slot) heldBy(session uint64, token int64) bool {
	return s.state.Held() && s.session == session && int64(s.token) == token
}

// endAttempt ends the attempt under way of task i as its worker says.
func (m *Machine) endAttempt(j *job, i uint32, outcome task.Outcome, g *logpb.ReportGroup, output []byte, w *segmentWriter) {
	s := j.touchSlot(i)
	worker := m.letGo(j, i, s)
	reason := task.Reason(g.Reason)
	switch stopped, why := j.stopped(s); {
	case stopped:
		// The cancel was acknowledged before this report came: the task ends
		// cancelled, whatever it did meanwhile.
		if m.version < printedVersion {
			output = nil
		}
		m.end(j, i, s, task.Cancelled, why, output, w, worker)
	case outcome == task.OutcomeSucceeded:
		m.end(j, i, s, task.Succeeded, task.NoReason, output, w, worker)
	case outcome == task.OutcomeReturned:
		m.requeue(j, i, s, func() { s.attempt-- })
	case outcome == task.OutcomeStopped:
		w.attempt(i, s, outcome, task.NoReason, worker)
		m.requeue(j, i, s, nil)
	case outcome == task.OutcomeLost && s.lost+1 >= m.rules.MaxLost:
		m.end(j, i, s, task.Failed, task.ReasonWorkerLost, nil, w, worker)
	case outcome == task.OutcomeLost:
		// A task that kills what watches over it must not do so at once again.
		w.attempt(i, s, outcome, task.ReasonWorkerLost, worker)
		m.postpone(j, i, s, task.ReasonWorkerLost, &s.lost)
	case g.Permanent || uint32(s.failures)+1 >= j.spec.MaxAttempts:
		m.end(j, i, s, task.Failed, reason, output, w, worker)
	default:
		w.attempt(i, s, outcome, reason, worker)
		m.postpone(j, i, s, reason, &s.failures)
	}
}

// postpone lets a task that was held wait for its next attempt. wrong counts those that went wrong.
func (m *Machine) postpone(j *job, i uint32, s *slot, why task.Reason, wrong *uint8) {
	m.leave(j, i, s, task.Scheduled)
	j.wentWrong(s, wrong)
	s.at = m.clock + int64(m.rules.Backoff(j.id, i, uint32(*wrong)))
	s.session, s.reason = 0, why
	m.enter(j, i, s, task.Scheduled)
}

// letGo takes task i, whose slot is s, off the session that holds it, and returns the
// worker's name.
func (m *Machine) letGo(j *job, i uint32, s *slot) string {
	holder := m.sessions[s.session]
	holder.release(j.id, i)
	return holder.name()
}

// requeue puts a task that was held back in line. change is what else changes.
func (m *Machine) requeue(j *job, i uint32, s *slot, change func()) {
	m.leave(j, i, s, task.Pending)
	s.session, s.at = 0, 0
	if change != nil {
		change()
	}
	m.enter(j, i, s, task.Pending)
}

// end records the outcome of task i.
func (m *Machine) end(j *job, i uint32, s *slot, to task.State, reason task.Reason, output []byte, w *segmentWriter, worker string) {
	m.leave(j, i, s, to)
	s.unreported = w.g == nil
	w.add(i, s, to, reason, output, worker)
	m.enterFinal(j, i, s, to, reason, hashBytes(output))
}

// segmentWriter gathers outcomes of one job into segments: one for each run of
// tasks that ended alike.
type segmentWriter struct {
	m *Machine
	j *job
	// g is the report they came in; nil: they were ended by the servers.
	g *logpb.ReportGroup
	// usage is what the report says that the attempt under way has used.
	usage []byte
	// note is the error of those that end without a report.
	note string
	// broken: the report has come to segments before this one, whose errors and standard errors
	// take so many bytes.
	broken bool
	notes  int
	seg    *logpb.Segment
	// tried is attempts after which tasks are tried again.
	tried    *logpb.Attempt
	first    uint32
	count    uint32
	nonEmpty bool
}

// add appends the outcome of task i, which gets the job's next cursor.
func (w *segmentWriter) add(i uint32, s *slot, to task.State, reason task.Reason, output []byte, worker string) {
	granted := s.token != 0
	offset := int64(0)
	if granted {
		offset = int64(s.token) - int64(i)
	}
	if w.seg == nil || w.seg.State != uint32(to) || w.seg.Reason != uint32(reason) || w.seg.Attempt != uint32(s.attempt) ||
		w.seg.TokenOffset != offset || w.seg.Granted != granted || w.seg.Worker != worker {
		w.close()
		w.first = w.j.received
		w.seg = &logpb.Segment{
			State: uint32(to), Reason: uint32(reason), Attempt: uint32(s.attempt), TokenOffset: offset, Granted: granted,
			Worker: worker, FinishedNs: w.m.clock, Unreported: granted && s.unreported,
		}
		if w.g != nil && (to != task.Cancelled || w.m.version >= printedVersion) {
			w.describe(to)
		}
		if w.note != "" {
			w.seg.Error = w.note
		}
	}
	addIndex(&w.seg.Ranges, i, 1)
	w.seg.PackedOutputs = task.PackAppend(w.seg.PackedOutputs, output)
	if w.g != nil && len(w.g.PackedUsage) > 0 {
		w.seg.PackedUsage = task.PackAppend(w.seg.PackedUsage, w.usage)
	}
	w.nonEmpty = w.nonEmpty || len(output) > 0
	w.count++
	w.m.watchers.tally.countEnded(to, reason, 1)
}

const (
	// maxNotes is how many bytes of errors and standard errors one group of a report makes. It has
	// them once, for tens of thousands of tasks, each of which may come to a segment of its own:
	// kilobytes would be hundreds of megabytes, on every server.
	maxNotes = 256 << 10
	// shortError is how much of the error segments have beyond that, bytes.
	shortError = 128
)

// describe puts what the report says of an attempt into a new segment. Of a task that was cancelled this is only what it
// has printed: how it would have ended does not matter.
func (w *segmentWriter) describe(to task.State) {
	w.seg.OutputMissing, w.seg.OutputHead = w.g.OutputMissing, w.g.OutputHead
	var note string
	note, w.seg.StderrTail, w.seg.StderrMissing = w.notesOfReport()
	if to != task.Cancelled {
		w.seg.ExitCodePlusOne, w.seg.Error = w.g.ExitCodePlusOne, note
	}
	if !w.broken {
		w.seg.PackedOutputs = make([]byte, 0, len(w.g.PackedOutputs))
		if n := len(w.g.PackedUsage); n > 0 {
			w.seg.PackedUsage = make([]byte, 0, n)
		}
	}
}

// notesOfReport returns the error and the standard error of the report for one more record.
func (w *segmentWriter) notesOfReport() (note string, stderr []byte, missing uint64) {
	if w.notes += len(w.g.Error) + len(w.g.StderrTail); w.notes <= w.m.rules.maxNotes {
		return w.g.Error, w.g.StderrTail, w.g.StderrMissing
	}
	return shortened(w.g.Error, w.m.rules.shortError), nil, 0
}

// shortened is the beginning of an error. The cut may go through a character, whose rest is dropped.
func shortened(note string, bytes int) string {
	return strings.ToValidUTF8(note[:min(len(note), bytes)], "")
}

// addUntouched appends the end of a run of untouched tasks.
func (w *segmentWriter) addUntouched(r task.Range, to task.State, reason task.Reason) {
	if w.seg == nil || w.seg.State != uint32(to) || w.seg.Reason != uint32(reason) || w.seg.Attempt != 0 || w.seg.Granted || w.nonEmpty {
		w.close()
		w.first = w.j.received
		w.seg = &logpb.Segment{State: uint32(to), Reason: uint32(reason), FinishedNs: w.m.clock}
	}
	addIndex(&w.seg.Ranges, r.First, r.Count)
	w.count += r.Count
	w.m.watchers.tally.countEnded(to, reason, r.Count)
}

// close hands the segment under way to the job, and the attempts.
func (w *segmentWriter) close() {
	w.closeAttempt()
	if w.seg == nil {
		return
	}
	switch out := w.seg.PackedOutputs; {
	case !w.nonEmpty:
		w.seg.PackedOutputs = nil
	case cap(out) > 2*len(out):
		w.seg.PackedOutputs = bytes.Clone(out) // the others of its report have the rest
	}
	if used := w.seg.PackedUsage; cap(used) > 2*len(used) {
		w.seg.PackedUsage = bytes.Clone(used)
	}
	w.m.addSegment(w.j, w.first, w.count, w.seg)
	w.seg, w.count, w.nonEmpty, w.broken = nil, 0, false, true
}

// addIndex appends count indexes from first on to ranges.
func addIndex(ranges *[]*logpb.Range, first, count uint32) {
	if n := len(*ranges); n > 0 {
		if last := (*ranges)[n-1]; last.First+last.Count == first {
			last.Count += count
			return
		}
	}
	*ranges = append(*ranges, &logpb.Range{First: first, Count: count})
}

// eachIndex calls f for each index of ranges, in their order. A rangeCheck has
// passed them.
func eachIndex(ranges []*logpb.Range, f func(i uint32)) {
	for _, rg := range ranges {
		for i := rg.First; i < rg.First+rg.Count; i++ {
			f(i)
		}
	}
}
