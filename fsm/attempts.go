package fsm

import (
	"bytes"
	"slices"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// An attempt that ends without ending its task leaves a record, so that people see why the task is
// tried again. Neighbours that end alike share one. The records leave memory with the flush, and
// nothing in here asks for them again.

// sharedUsage is how many bytes of what tasks have used stand in one record before the next one begins: a record is
// written again when a task leaves it, and a report may name 65,536 of them.
const sharedUsage = 4 << 10

// sharedNotes is how many bytes of an error and a standard error both halves of a record keep that is cut in two.
const sharedNotes = 2 * shortError

// attemptsSum is the digest of the job's records.
func (j *job) attemptsSum() uint64 {
	if j.rare == nil {
		return 0
	}
	return j.rare.attemptsSum
}

// attempts is the records that are not yet on disk.
func (j *job) attempts() []*logpb.Attempt {
	if j.rare == nil {
		return nil
	}
	return j.rare.attempts
}

// attempt notes that the attempt of task i, whose slot is s, has ended, and that it is tried again.
func (w *segmentWriter) attempt(i uint32, s *slot, outcome task.Outcome, reason task.Reason, worker string) {
	w.m.watchers.tally.attempts[reason].Add(1)
	if w.m.version < attemptsVersion {
		return // a server of an older build may have applied this entry, and left none
	}
	offset := int64(s.token) - int64(i)
	if a := w.tried; a != nil && a.First+a.Count == i && a.Attempt == uint32(s.attempt) && a.TokenOffset == offset && a.GrantedNs == s.at &&
		a.Outcome == uint32(outcome) && a.Reason == uint32(reason) && a.Worker == worker && len(a.PackedUsage) < w.m.rules.sharedUsage {
		a.Count++
		w.addUsage(a)
		return
	}
	w.closeAttempt()
	w.tried = &logpb.Attempt{
		First: i, Count: 1, Attempt: uint32(s.attempt), Outcome: uint32(outcome), Reason: uint32(reason), Worker: worker,
		TokenOffset: offset, GrantedNs: s.at, EndedNs: w.m.clock, Error: w.note,
	}
	if w.g != nil {
		w.tried.ExitCodePlusOne = w.g.ExitCodePlusOne
		w.tried.Error, w.tried.StderrTail, w.tried.StderrMissing = w.notesOfReport()
		if cut := len(w.tried.StderrTail) - w.m.rules.MaxAttemptStderr; cut > 0 && w.m.version >= printedVersion {
			w.tried.StderrTail, w.tried.StderrMissing = bytes.Clone(w.tried.StderrTail[cut:]), w.tried.StderrMissing+uint64(cut)
		}
	}
	w.addUsage(w.tried)
}

func (w *segmentWriter) addUsage(a *logpb.Attempt) {
	if w.g != nil && len(w.g.PackedUsage) > 0 {
		a.PackedUsage = task.PackAppend(a.PackedUsage, w.usage)
	}
}

// closeAttempt hands the record of attempts under way to the job.
func (w *segmentWriter) closeAttempt() {
	if w.tried == nil {
		return
	}
	w.m.touch(w.j)
	if w.j.rare == nil {
		w.j.rare = &rare{}
	}
	w.j.rare.attempts = append(w.j.rare.attempts, w.tried)
	w.j.rare.attemptsSum += attemptHash(w.tried)
	w.m.dirtyBytes += int64(attemptBytes(w.tried))
	w.tried = nil
}

// attemptBytes is about how large a record of attempts is.
func attemptBytes(a *logpb.Attempt) int {
	return len(a.Error) + len(a.StderrTail) + len(a.Worker) + len(a.PackedUsage) + 96
}

// attemptHash is the digest of a record of attempts. As of outcomes, texts are not in it.
func attemptHash(a *logpb.Attempt) uint64 {
	return task.Mix(uint64(a.First)<<32|uint64(a.Count), uint64(a.Attempt)<<16|uint64(a.Outcome)<<8|uint64(a.Reason),
		uint64(a.TokenOffset), uint64(a.GrantedNs), uint64(a.EndedNs))
}

// triedAgain says that an attempt of the task has gone wrong.
func (s *slot) triedAgain() bool { return s.failures|s.lost != 0 }

// wentWrong counts that an attempt of a task, which is not final, has gone wrong.
func (j *job) wentWrong(s *slot, wrong *uint8) {
	if !s.triedAgain() {
		j.retrying++
	}
	*wrong++
}

// Attempts returns the records in memory that have an attempt of task i of a job, in the order in
// which they ended. They must not be changed.
func (m *Machine) Attempts(id uint64, i uint32) (out []*logpb.Attempt) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if j := m.jobs[id]; j != nil {
		for _, a := range j.attempts() {
			if i >= a.First && i-a.First < a.Count {
				out = append(out, a)
			}
		}
	}
	return out
}

// LastAttempt returns of the records of attempts in memory the newest of those with the highest number;
// nil: there is none.
func (m *Machine) LastAttempt(id uint64) (last *logpb.Attempt) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if j := m.jobs[id]; j != nil {
		for _, a := range j.attempts() {
			if last == nil || a.Attempt >= last.Attempt {
				last = a
			}
		}
	}
	return last
}

// AttemptWithout returns what is left of a record of attempts when the tasks from first to end - 1 leave it. Where
// that is two records, only the larger one keeps a long error and the standard error: a report has them once, for up
// to tens of thousands of tasks, and would be as many times on disk when every second of these has left.
func AttemptWithout(a *logpb.Attempt, first, end uint32) (left []*logpb.Attempt) {
	behind := a.First + a.Count
	if a.First < first {
		left = append(left, attemptPart(a, a.First, first))
	}
	if end < behind {
		left = append(left, attemptPart(a, end, behind))
	}
	if len(left) == 2 && len(a.Error)+len(a.StderrTail) > sharedNotes {
		smaller := left[0]
		if left[1].Count < smaller.Count {
			smaller = left[1]
		}
		smaller.Error, smaller.StderrTail, smaller.StderrMissing = shortened(a.Error, shortError), nil, 0
	}
	return left
}

// attemptPart is the part of a record of attempts that is about the tasks from first to end - 1.
func attemptPart(a *logpb.Attempt, first, end uint32) *logpb.Attempt {
	part := &logpb.Attempt{
		First: first, Count: end - first, Attempt: a.Attempt, Outcome: a.Outcome, Reason: a.Reason, ExitCodePlusOne: a.ExitCodePlusOne,
		Error: a.Error, StderrTail: a.StderrTail, StderrMissing: a.StderrMissing, Worker: a.Worker, TokenOffset: a.TokenOffset, GrantedNs: a.GrantedNs, EndedNs: a.EndedNs,
	}
	if usage, ok := task.PackSkip(a.PackedUsage, int(first-a.First)); ok && len(usage) > 0 {
		rest, _ := task.PackSkip(usage, int(end-first))
		part.PackedUsage = bytes.Clone(usage[:len(usage)-len(rest)])
	}
	return part
}

// batchAttempts puts what attempts have left into a flush batch.
func (j *job) batchAttempts(c *BatchJob) { c.Attempts = slices.Clip(j.attempts()) }

// flushedAttempts forgets what is on disk: what was in a flush batch.
func (j *job) flushedAttempts(c *BatchJob) {
	if j.rare != nil {
		j.rare.attempts = append([]*logpb.Attempt(nil), j.rare.attempts[len(c.Attempts):]...)
	}
}
