package sim

import (
	"cmp"
	"fmt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// AttemptKey names an attempt at a task.
type AttemptKey struct {
	task.ID
	Token uint64
}

// KeyAt is the attempt at task index of a job, if a token is the index plus this offset.
func KeyAt(job uint64, index uint32, offset int64) AttemptKey {
	return AttemptKey{task.ID{Job: job, Index: index}, uint64(int64(index) + offset)}
}

// Offset is the difference between its token and its index.
func (k AttemptKey) Offset() int64 { return int64(k.Token) - int64(k.Index) }

// Output is the result of an attempt that succeeds: it names the attempt.
func (k AttemptKey) Output() string { return fmt.Sprintf("%d.%d under %d", k.Job, k.Index, k.Token) }

// Missing is how many bytes of its output are reported as not kept. Some neighbours have the same number.
func (k AttemptKey) Missing() uint64 { return k.Token / 8 % 2 }

func (k AttemptKey) compare(o AttemptKey) int {
	return cmp.Or(compareIDs(k.ID, o.ID), cmp.Compare(k.Token, o.Token))
}

func compareIDs(a, b task.ID) int {
	return cmp.Or(cmp.Compare(a.Job, b.Job), cmp.Compare(a.Index, b.Index))
}

// Verdicts is the exceptions in the answer to a report, attempt by attempt. All others were recorded.
func Verdicts(exceptions []fsm.Exception) map[AttemptKey]fsm.Verdict {
	verdicts := map[AttemptKey]fsm.Verdict{}
	for _, x := range exceptions {
		for i := x.First; i < x.First+x.Count; i++ {
			verdicts[KeyAt(x.Job, i, x.TokenOffset)] = x.Verdict
		}
	}
	return verdicts
}

// Outcome is the result of a task, as a reader sees it.
type Outcome struct {
	Index   uint32
	Cursor  uint32
	State   task.State
	Reason  task.Reason
	Attempt uint32
	// Token is that of the attempt; 0: none was granted.
	Token   uint64
	Granted bool
	Worker  string
	Output  string
	Missing uint64
}

// OutcomeOf is what a segment says of one task.
func OutcomeOf(index, cursor uint32, s *logpb.Segment, output []byte) Outcome {
	o := Outcome{
		Index: index, Cursor: cursor, State: task.State(s.State), Reason: task.Reason(s.Reason), Attempt: s.Attempt,
		Granted: s.Granted, Worker: s.Worker, Output: string(output), Missing: s.OutputMissing,
	}
	if o.Granted {
		o.Token = KeyAt(0, index, s.TokenOffset).Token
	}
	return o
}

// Outcome is what a reader must see of a task that has ended.
func (t *Task) Outcome(index uint32) Outcome {
	o := Outcome{
		Index: index, Cursor: t.Cursor, State: t.State, Reason: t.Reason, Attempt: t.Attempt,
		Granted: t.GrantedWhenEnded, Worker: t.Worker, Output: string(t.Output), Missing: t.OutputMissing,
	}
	if o.Granted {
		o.Token = t.Token
	}
	return o
}
