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
	// assignBytes is about the size of a message of assignments.
	assignBytes = 256 << 10
	// assignTasks bounds the payloads that are fetched at once.
	assignTasks = 256
	// assignmentBytes is about the size of an assignment without its payloads and its work.
	assignmentBytes = 128
)

// sendGrants sends grants with their payloads, many in a message.
func (out *sendStream) sendGrants(grants []fsm.Grant) error {
	w := &grantWriter{to: out}
	for _, g := range grants {
		// If its job has ended meanwhile and was forgotten, the grant is void.
		if err := w.add(g); err != nil && !errors.Is(err, task.ErrNotFound) {
			return err
		}
	}
	return w.flush()
}

// grantWriter makes messages of grants.
type grantWriter struct {
	to *sendStream
	// batch is assignments of about size bytes. The worker lets go of forget before it reads them.
	batch  []*rotav1.Assignment
	forget []uint32
	size   int
	// spec is the last one that was read whole, with its id, and work is what is sent of it.
	spec *task.Spec
	work *rotav1.WorkSpec
	id   fsm.SpecID
	// workSize is the size of work, bytes: its command and environment may be as large as a payload.
	workSize int
}

func (w *grantWriter) flush() error {
	if len(w.batch) == 0 && len(w.forget) == 0 {
		return nil
	}
	m := &rotav1.SessionResponse{Message: &rotav1.SessionResponse_Assignments{Assignments: &rotav1.Assignments{Assignments: w.batch, ForgetWorks: w.forget}}}
	w.batch, w.forget, w.size = nil, nil, 0
	return w.to.stream.Send(m)
}

func (w *grantWriter) add(g fsm.Grant) error {
	ref, ok := w.to.server.node.State().Machine().SpecOf(g.Job)
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
			if a.PackedPayloads, n, err = w.to.payloads(g.Job, g.First, n); err != nil {
				return err
			}
		}
		// Last: a work that the worker is to keep must be sent.
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

// setWork puts the work of the job into an assignment, or the number under which the worker keeps it.
func (w *grantWriter) setWork(a *rotav1.Assignment, job uint64, ref fsm.JobSpec) error {
	if a.WorkNumber = w.to.works.number(ref.ID); a.WorkNumber != 0 {
		return nil
	}
	if _, err := w.whole(job, ref); err != nil {
		return err
	}
	a.Work = w.work
	if ref.Whole {
		return nil
	}
	number, forget := w.to.works.keep(ref.ID, w.workSize)
	a.WorkNumber = number
	if len(forget) > 0 {
		// The assignments in the batch may need what the worker is about to forget.
		if err := w.flush(); err != nil {
			return err
		}
		w.forget = forget
	}
	return nil
}

// whole returns all of a spec. It is read once for consecutive grants of a job.
func (w *grantWriter) whole(job uint64, ref fsm.JobSpec) (*task.Spec, error) {
	if w.spec == nil || w.id != ref.ID {
		spec, err := w.to.server.node.State().WholeSpec(job, ref)
		if err != nil {
			return nil, err
		}
		w.spec, w.work, w.id = spec, wire.WorkToProto(spec), ref.ID
		w.workSize = proto.Size(w.work)
	}
	return w.spec, nil
}

// payloads fetches the payloads of up to count tasks, as many as fit into a message.
func (out *sendStream) payloads(job uint64, first, count uint32) (packed []byte, n uint32, err error) {
	n = min(count, assignTasks)
	for {
		packed, err = out.server.node.State().Payloads(job, first, n)
		if err != nil || n == 1 || len(packed) <= 4*assignBytes {
			return packed, n, err
		}
		n /= 2
	}
}

// valuesOf returns the values of the tasks from first on, as an arithmetic progression of the index, and how many
// of count tasks it holds for.
func valuesOf(runs []task.ValueRun, first, count uint32) (arrayFirst, arrayStep, n uint32) {
	begin := uint32(0)
	for _, r := range runs {
		if first < begin+r.Count {
			// It wraps around, and wraps back when the worker adds the index.
			return r.First - begin*r.Step, r.Step, min(count, begin+r.Count-first)
		}
		begin += r.Count
	}
	return 0, 0, count
}

// setValues gives an assignment its values. They are in the work if that is sent for this assignment alone.
func setValues(a *rotav1.Assignment, first, step uint32) {
	switch {
	case a.WorkNumber != 0:
		a.ArrayFirst, a.ArrayStep = first, step
	case first != 0 || step != 0:
		a.Work = proto.CloneOf(a.Work) // other assignments share it
		a.Work.ArrayFirst, a.Work.ArrayStep = first, step
	}
}
