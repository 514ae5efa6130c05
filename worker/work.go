package worker

import (
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

// workOf translates the work of an assignment. w is the spec that the server has sent for it, now or
// before.
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

// value is what an array job gives to an index.
func (w *work) value(index uint32) uint32 {
	if w.first == 0 && w.step == 0 {
		return index
	}
	return w.first + index*w.step
}
