package worker

import (
	"sync/atomic"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/worker/command"
)

// work is what to run, as one assignment says it.
type work struct {
	task.Work
	// command is the program to run; nil: it is a handler.
	command *command.Work
	// first and step give each index its value.
	first, step uint32
}

// workOf is the work of an assignment, for which the server has sent w, now or before.
func workOf(a *rotav1.Assignment, w *rotav1.WorkSpec) (*work, error) {
	made := &work{first: w.GetArrayFirst(), step: w.GetArrayStep()}
	if a.GetWorkNumber() != 0 {
		made.first, made.step = a.GetArrayFirst(), a.GetArrayStep()
	}
	var err error
	if made.Work, err = wire.WorkFromProto(w); err != nil {
		return nil, err
	}
	if w.GetCommand() != nil {
		made.command = &command.Work{Spec: &made.Work}
	}
	return made, nil
}

// span is tasks of one assignment that wait: the indexes next to end - 1. A range
// is one span however many tasks it has.
type span struct {
	key       key
	work      *work
	next, end uint32
	// packed is the payloads from next on; nil: all have the shared one.
	packed  []byte
	attempt uint32
	// arrived is on monoNow; order is the place among all that ever arrived.
	arrived time.Duration
	order   uint64
}

// spanOf translates an assignment. It refuses one whose payloads do not fit its
// range, or whose work it does not understand: running tasks with the payloads of others, or otherwise than
// their job says, would be worse than not at all.
func spanOf(a *rotav1.Assignment, spec *rotav1.WorkSpec) (*span, error) {
	r, ok := rangeOf(a.GetRange())
	if !ok {
		return nil, task.Errorf(task.KindInvalid, "assignment of job %d has the malformed range %v", a.GetJobId(), a.GetRange())
	}
	work, err := workOf(a, spec)
	if err != nil {
		return nil, task.Errorf(task.KindInvalid, "assignment of job %d: %v", a.GetJobId(), err)
	}
	s := &span{
		key: key{a.GetJobId(), a.GetTokenOffset()}, work: work,
		next: r.first, end: r.end, attempt: a.GetAttempt(),
	}
	if packed := a.GetPackedPayloads(); len(packed) > 0 {
		if err := task.PackCheck(packed, int(r.end-r.first), task.MaxPayload); err != nil {
			return nil, task.Errorf(task.KindInvalid, "assignment of job %d: %v", a.GetJobId(), err)
		}
		s.packed = packed
	}
	return s, nil
}

func (s *span) len() int { return int(s.end - s.next) }

// part is a span of its own for a part of the tasks.
func (s *span) part(r indexRange) *span {
	p := *s
	p.next, p.end = r.first, r.end
	if s.packed != nil {
		// spanOf has counted the payloads.
		p.packed, _ = task.PackSkip(s.packed, int(r.first-s.next))
	}
	return &p
}

// take removes the first task and fills r with it.
func (s *span) take(r *run) {
	r.key, r.work = s.key, s.work
	t := &r.task
	t.Job, t.Index, t.Attempt = s.key.job, s.next, s.attempt
	t.Token = s.key.token(s.next)
	t.JobName, t.Queue = s.work.JobName, s.work.Queue
	t.Value = s.next
	if s.work.first != 0 || s.work.step != 0 {
		t.Value = s.work.first + s.next*s.work.step
	}
	t.Payload = s.work.SharedPayload
	if s.packed != nil {
		t.Payload, s.packed, _ = task.PackNext(s.packed)
	}
	s.next++
}

// spanQueue is spans in order of arrival.
type spanQueue struct {
	spans []*span
	// taken is how many at the front are used up.
	taken int
	// tasks is how many tasks there are. It may be read without the board's lock.
	tasks atomic.Int64
}

func (q *spanQueue) head() *span {
	if q.taken == len(q.spans) {
		return nil
	}
	return q.spans[q.taken]
}

func (q *spanQueue) push(s *span) {
	q.spans = append(q.spans, s)
	q.tasks.Add(int64(s.len()))
}

func (q *spanQueue) pop() {
	q.spans[q.taken] = nil
	q.taken++
	switch {
	case q.taken == len(q.spans):
		q.spans, q.taken = q.spans[:0], 0
	case q.taken > 1024 && q.taken > len(q.spans)/2:
		// A queue that never runs empty must not grow for ever.
		n := copy(q.spans, q.spans[q.taken:])
		clear(q.spans[n:])
		q.spans, q.taken = q.spans[:n], 0
	}
}

// filter keeps the spans that keep says.
func (q *spanQueue) filter(keep func(*span) bool) {
	var kept []*span
	for _, s := range q.spans[q.taken:] {
		if keep(s) {
			kept = append(kept, s)
		} else {
			q.tasks.Add(-int64(s.len()))
		}
	}
	q.spans, q.taken = kept, 0
}

// cut keeps the first n tasks and returns the others.
func (q *spanQueue) cut(n int) (gone []*span) {
	var kept []*span
	for _, s := range q.spans[q.taken:] {
		switch {
		case n == 0:
			gone = append(gone, s)
		case s.len() > n:
			middle := s.next + uint32(n)
			gone = append(gone, s.part(indexRange{middle, s.end}))
			kept = append(kept, s.part(indexRange{s.next, middle}))
			n = 0
		default:
			kept = append(kept, s)
			n -= s.len()
		}
	}
	for _, s := range gone {
		q.tasks.Add(-int64(s.len()))
	}
	if len(gone) > 0 {
		q.spans, q.taken = kept, 0
	}
	return gone
}

// remove takes out the wanted tasks of a key and returns which they were.
func (q *spanQueue) remove(k key, wanted *indexSet) (gone []indexRange) {
	var kept []*span
	hit := false
	for _, s := range q.spans[q.taken:] {
		if s.key != k {
			kept = append(kept, s)
			continue
		}
		wanted.each(indexRange{s.next, s.end}, func(r indexRange, in bool) {
			if in {
				gone = append(gone, r)
				q.tasks.Add(-int64(r.end - r.first))
				hit = true
			} else {
				kept = append(kept, s.part(r))
			}
		})
	}
	if hit {
		q.spans, q.taken = kept, 0
	}
	return gone
}
