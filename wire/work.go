package wire

import (
	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// A worker gets a part of a spec, in a message of its own. Both messages have the same two within, for
// handlers and for commands, which are translated here.

// WorkToProto translates what a worker needs of a spec. Byte slices and the command are shared with it,
// not copied.
func WorkToProto(s *task.Spec) *rotav1.WorkSpec {
	p := &rotav1.WorkSpec{
		JobName: s.Name, Queue: s.Queue, Exclusive: s.Exclusive(), SharedPayload: s.SharedPayload, Timeout: durationToProto(s.Timeout),
	}
	switch {
	case s.Handler != "":
		p.Work = &rotav1.WorkSpec_Handler{Handler: handlerToProto(s)}
	case len(s.Command) > 0:
		p.Work = &rotav1.WorkSpec_Command{Command: commandToProto(s)}
	}
	return p
}

// WorkFromProto translates a work back, with its environment as sorted pairs. It refuses what a worker
// would run in another way than the job says. Byte slices and the command are shared, not copied.
func WorkFromProto(p *rotav1.WorkSpec) (task.Work, error) {
	if CheckKnown(p, p.GetHandler(), p.GetCommand(), p.GetTimeout()) != nil {
		return task.Work{}, task.Errorf(task.KindUnsupported, "it asks for something that this worker does not know: upgrade this worker")
	}
	s := task.Spec{
		Name: p.GetJobName(), Queue: p.GetQueue(), Timeout: max(0, p.GetTimeout().AsDuration()), SharedPayload: p.GetSharedPayload(),
	}
	if err := workFromProto(&s, p.GetHandler(), p.GetCommand()); err != nil {
		return task.Work{}, err
	}
	w := s.Work()
	w.Exclusive = p.GetExclusive()
	return w, nil
}

func handlerToProto(s *task.Spec) *rotav1.HandlerWork { return &rotav1.HandlerWork{Name: s.Handler} }

func commandToProto(s *task.Spec) *rotav1.CommandWork {
	return &rotav1.CommandWork{
		Argv: s.Command, Env: pairsToProto(s.Env), Cwd: s.Cwd, Placeholder: s.Placeholder,
		Stdout: StdoutToProto(s.Stdout), StdoutPath: s.StdoutPath,
	}
}

// workFromProto fills in what the tasks of a job run: a handler or a command.
func workFromProto(s *task.Spec, handler *rotav1.HandlerWork, command *rotav1.CommandWork) (err error) {
	s.Handler = handler.GetName()
	s.Command, s.Env = command.GetArgv(), PairsFromMap(command.GetEnv())
	s.Cwd, s.Placeholder = command.GetCwd(), command.GetPlaceholder()
	s.StdoutPath = command.GetStdoutPath()
	s.Stdout, err = StdoutFromProto(command.GetStdout())
	return err
}
