package worker

import (
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/worker/report"
)

// assignment is tasks of one grant that wait for a slot: the indexes next to end - 1. It is one
// value however many tasks it has.
type assignment struct {
	grant     report.Grant
	work      *work
	next, end uint32
	// packed is the payloads from next on; nil: all tasks have the shared payload.
	packed  []byte
	attempt uint32
	// arrived is when it arrived, on monoNow, and order its place among all that ever arrived.
	arrived time.Duration
	order   uint64
}

// assignmentOf translates an assignment. It refuses one whose payloads do not fit its range, or whose
// work it does not understand: it would be worse to run tasks with the payloads of other tasks, or in
// another way than their job says, than not to run them.
func assignmentOf(p *rotav1.Assignment, spec *rotav1.WorkSpec) (*assignment, error) {
	r := wire.RangeFromProto(p.GetRange())
	if !r.Valid() {
		return nil, task.Errorf(task.KindInvalid, "assignment of job %d has the malformed range %v", p.GetJobId(), p.GetRange())
	}
	work, err := workOf(p, spec)
	if err != nil {
		return nil, task.Errorf(task.KindInvalid, "assignment of job %d: %v", p.GetJobId(), err)
	}
	a := &assignment{grant: grantOf(p), work: work, next: r.First, end: r.End(), attempt: p.GetAttempt()}
	if packed := p.GetPackedPayloads(); len(packed) > 0 {
		if err := task.PackCheck(packed, a.len(), task.MaxPayload); err != nil {
			return nil, task.Errorf(task.KindInvalid, "assignment of job %d: %v", p.GetJobId(), err)
		}
		a.packed = packed
	}
	return a, nil
}

func grantOf(p *rotav1.Assignment) report.Grant {
	return report.Grant{Job: p.GetJobId(), Offset: p.GetTokenOffset()}
}

func (a *assignment) len() int { return int(a.end - a.next) }

func (a *assignment) tasks() task.Range { return task.RangeTo(a.next, a.end) }

// part is an assignment of some of the tasks.
func (a *assignment) part(r task.Range) *assignment {
	p := *a
	p.next, p.end = r.First, r.End()
	if a.packed != nil {
		// assignmentOf has counted the payloads.
		p.packed, _ = task.PackSkip(a.packed, int(r.First-a.next))
	}
	return &p
}

// take removes the first task and fills r with it.
func (a *assignment) take(r *run) {
	r.grant, r.work = a.grant, a.work
	t := &r.task
	t.Job, t.Index, t.Attempt = a.grant.Job, a.next, a.attempt
	t.Token = a.grant.Token(a.next)
	t.JobName, t.Queue = a.work.JobName, a.work.Queue
	t.Value = a.work.value(a.next)
	t.Payload = a.work.SharedPayload
	if a.packed != nil {
		t.Payload, a.packed, _ = task.PackNext(a.packed)
	}
	a.next++
}
