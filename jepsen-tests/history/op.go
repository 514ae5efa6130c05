package history

import (
	"encoding/json"
	"fmt"
)

// Type is whether an op starts or ends, and how it ended.
type Type string

// The types of ops, as Jepsen names them.
const (
	Invoke Type = "invoke"
	OK     Type = "ok"
	Fail   Type = "fail"
	Info   Type = "info"
)

// The processes that are no clients.
const (
	// Nemesis injects faults.
	Nemesis = -1
	// Observer watches leaders, and reads what there is in the end.
	Observer = -2
)

// Op is one entry of a history.
type Op struct {
	// Index counts from 0 without a gap.
	Index int `json:"index"`
	// Time is nanoseconds since the start of the history, on a clock that never goes back.
	Time    int64           `json:"time"`
	Type    Type            `json:"type"`
	F       F               `json:"f"`
	Value   json.RawMessage `json:"value,omitempty"`
	Process int             `json:"process"`
	// Node is the server or host that the op is about; empty: the cluster.
	Node string `json:"node,omitempty"`
	// Error is for people.
	Error string `json:"error,omitempty"`
}

// Decode returns the value of an op as the type that it was written from.
func Decode[T any](op Op) (T, error) {
	var v T
	if len(op.Value) == 0 {
		return v, nil
	}
	if err := json.Unmarshal(op.Value, &v); err != nil {
		return v, fmt.Errorf("op %d (%s %s): %w", op.Index, op.Type, op.F, err)
	}
	return v, nil
}

// Call is a request: its start and its end.
type Call[In, Out any] struct {
	Invoke Op
	In     In
	// Type is OK, Fail or Info; Info also if the end was never recorded.
	Type Type
	Out  Out
	// Done is the op that ended it; its zero value if there is none.
	Done Op
}

// End is when the call ended, or the end of the history if nobody knows.
func (c *Call[In, Out]) End(end int64) int64 {
	if c.Done.Type == "" {
		return end
	}
	return c.Done.Time
}

// Calls pairs the starts and ends of all calls of a function. Within a process, calls
// follow one another.
func Calls[In, Out any](ops []Op, f F) ([]Call[In, Out], error) {
	var calls []Call[In, Out]
	open := map[int]int{}
	for _, op := range ops {
		if op.F != f {
			continue
		}
		if op.Type == Invoke {
			if _, busy := open[op.Process]; busy {
				return nil, fmt.Errorf("op %d: process %d begins %s though it has not ended the one before", op.Index, op.Process, f)
			}
			in, err := Decode[In](op)
			if err != nil {
				return nil, err
			}
			open[op.Process] = len(calls)
			calls = append(calls, Call[In, Out]{Invoke: op, In: in, Type: Info})
			continue
		}
		at, begun := open[op.Process]
		if !begun {
			return nil, fmt.Errorf("op %d: process %d ends %s which it has not begun", op.Index, op.Process, f)
		}
		delete(open, op.Process)
		out, err := Decode[Out](op)
		if err != nil {
			return nil, err
		}
		calls[at].Type, calls[at].Out, calls[at].Done = op.Type, out, op
	}
	return calls, nil
}

// Noted returns the values of all ops of a function that are no calls: notes of the
// nemesis and of the observer.
func Noted[T any](ops []Op, f F) ([]Note[T], error) {
	var notes []Note[T]
	for _, op := range ops {
		if op.F != f {
			continue
		}
		v, err := Decode[T](op)
		if err != nil {
			return nil, err
		}
		notes = append(notes, Note[T]{Op: op, Value: v})
	}
	return notes, nil
}

// Note is an op without a start, and its value.
type Note[T any] struct {
	Op    Op
	Value T
}
