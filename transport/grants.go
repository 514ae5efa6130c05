package transport

import (
	"errors"

	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// assignBytes is about how large a message of assignments is.
	assignBytes = 256 << 10
	// assignTasks bounds the payloads that are fetched at once.
	assignTasks = 256
	// assignmentBytes is about what an assignment takes beside payloads and work.
	assignmentBytes = 128
)

// sendGrants sends grants with their payloads, many in a message.
func (l *link) sendGrants(grants []fsm.Grant) error {
	w := &grantWriter{l: l}
	for _, g := range grants {
		// Of a job that has ended, and was forgotten, meanwhile the grant is void.
		if err := w.add(g); err != nil && !errors.Is(err, task.ErrNotFound) {
			return err
		}
	}
	return w.flush()
}

// grantWriter makes messages of grants.
type grantWriter struct {
	l *link
	// batch is assignments of about size bytes, forget what comes before them.
	batch  []*rotav1.Assignment
	forget []uint32
	size   int
	// spec is the last one that was read whole, that of id, and work what is sent of it.
	spec *task.Spec
	work *rotav1.WorkSpec
	id   fsm.SpecID
	// workSize is how large work is, bytes: its command and environment may be as large as a payload.
	workSize int
}

func (w *grantWriter) flush() error {
	if len(w.batch) == 0 && len(w.forget) == 0 {
		return nil
	}
	m := &rotav1.SessionResponse{Message: &rotav1.SessionResponse_Assignments{Assignments: &rotav1.Assignments{Assignments: w.batch, ForgetWorks: w.forget}}}
	w.batch, w.forget, w.size = nil, nil, 0
	return w.l.stream.Send(m)
}

func (w *grantWriter) add(g fsm.Grant) error {
	ref, ok := w.l.s.node.State().Machine().SpecOf(g.Job)
	if !ok {
		return nil
	}
	values := ref.Spec.Values
	if ref.ManyValues {
		spec, err := w.whole(g.Job, ref)
		if err != nil {
			return err
		}
		values = spec.Values
	}
	for g.Count > 0 {
		a := &rotav1.Assignment{JobId: g.Job, TokenOffset: g.TokenOffset, Attempt: g.Attempt}
		first, step, n := valuesOf(values, g.First, g.Count)
		if ref.OwnPayloads {
			var err error
			if a.PackedPayloads, n, err = w.l.payloads(g.Job, g.First, n); err != nil {
				return err
			}
		}
		// Last: what the worker is to keep must be sent.
		if err := w.setWork(a, g.Job, ref); err != nil {
			return err
		}
		setValues(a, first, step)
		a.Range = &rotav1.IndexRange{First: g.First, Count: n}
		g.First, g.Count = g.First+n, g.Count-n
		w.batch = append(w.batch, a)
		if a.Work != nil {
			w.size += w.workSize
		}
		if w.size += len(a.PackedPayloads) + assignmentBytes; w.size >= assignBytes {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// setWork says in an assignment where the worker has the work of its job, or what that is.
func (w *grantWriter) setWork(a *rotav1.Assignment, job uint64, ref fsm.JobSpec) error {
	if a.WorkNumber = w.l.works.number(ref.ID); a.WorkNumber != 0 {
		return nil
	}
	if _, err := w.whole(job, ref); err != nil {
		return err
	}
	a.Work = w.work
	if ref.Whole {
		return nil
	}
	number, forget := w.l.works.keep(ref.ID, w.workSize)
	a.WorkNumber = number
	if len(forget) > 0 {
		// What is in the batch may need what is forgotten.
		if err := w.flush(); err != nil {
			return err
		}
		w.forget = forget
	}
	return nil
}

// whole returns all of a spec. It is read once for grants of one job that follow each other.
func (w *grantWriter) whole(job uint64, ref fsm.JobSpec) (*task.Spec, error) {
	if w.spec == nil || w.id != ref.ID {
		spec, err := w.l.s.node.State().WholeSpec(job, ref)
		if err != nil {
			return nil, err
		}
		w.spec, w.work, w.id = spec, wire.WorkToProto(spec), ref.ID
		w.workSize = proto.Size(w.work)
	}
	return w.spec, nil
}

// payloads fetches the payloads of up to count tasks: as many as fit a message.
func (l *link) payloads(job uint64, first, count uint32) (packed []byte, n uint32, err error) {
	n = min(count, assignTasks)
	for {
		packed, err = l.s.node.State().Payloads(job, first, n)
		if err != nil || n == 1 || len(packed) <= 4*assignBytes {
			return packed, n, err
		}
		n /= 2
	}
}

// valuesOf returns the values of tasks from first on, and how many of count tasks they are for: a
// run of values is an arithmetic progression of the index.
func valuesOf(runs []task.ValueRun, first, count uint32) (arrayFirst, arrayStep, n uint32) {
	begin := uint32(0)
	for _, r := range runs {
		if first < begin+r.Count {
			// Wraps around, and back again when the worker adds the index.
			return r.First - begin*r.Step, r.Step, min(count, begin+r.Count-first)
		}
		begin += r.Count
	}
	return 0, 0, count
}

// setValues gives an assignment its values: with work that is sent for it alone they are in there.
func setValues(a *rotav1.Assignment, first, step uint32) {
	switch {
	case a.WorkNumber != 0:
		a.ArrayFirst, a.ArrayStep = first, step
	case first != 0 || step != 0:
		a.Work = proto.CloneOf(a.Work) // others have it, too
		a.Work.ArrayFirst, a.Work.ArrayStep = first, step
	}
}
