package worker

import (
	"context"
	"errors"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/worker/command"
)

// runCommand runs a task as a program.
func (w *Worker) runCommand(ctx context.Context, s *slot, r *run) result {
	if command.Supported && !w.cfg.Commands {
		return result{kind: failed, err: noCommands}
	}
	t := &r.task
	got, err := w.commands.Run(ctx, &s.command, &command.Task{
		Work: r.work.command, Job: t.Job, Index: t.Index, Value: t.Value, Attempt: t.Attempt, Token: t.Token,
		Payload: t.Payload, Exclusive: r.work.Exclusive,
	})
	if err != nil {
		return w.giveBack(err)
	}
	return commandResult(ctx, &got)
}

// noCommands is why a worker that runs handlers refuses commands.
const noCommands = "this worker does not run commands: start it with commands allowed, or require a label of one that does"

// commandResult is the result of a task whose command ended in the context ctx.
func commandResult(ctx context.Context, c *command.Result) result {
	res := result{err: errorText(c.Err), stderr: c.Stderr, output: c.Output, usage: c.Usage}
	switch c.End {
	case command.Stopped:
		ended := endedBy(ctx)
		if res.kind, res.err = ended.kind, ended.err; res.outcome != rotav1.Outcome_OUTCOME_FAILED {
			// Of one that was stopped nobody keeps it, so it is not sent.
			res.output = nil
			return res
		}
	case command.Expired:
		res.outcome, res.err = rotav1.Outcome_OUTCOME_STOPPED, ErrLease.Error()
	case command.Lost:
		res.outcome = rotav1.Outcome_OUTCOME_LOST
	case command.Failed:
		res.kind = failed
	case command.FailedForGood:
		res.kind = failedForGood
	default:
		res.kind = exited(c.Exit)
	}
	res.missing, res.head = c.Missing, c.Head
	return res
}

// exited is the kind of a command that ended by itself.
func exited(code int32) kind {
	k := kind{outcome: rotav1.Outcome_OUTCOME_SUCCEEDED, hasExit: true, exit: code}
	if code != 0 {
		k.outcome, k.reason = rotav1.Outcome_OUTCOME_FAILED, rotav1.Reason_REASON_EXIT_CODE
	}
	return k
}

// commandGrace is how long a command may take to end for a cause.
func commandGrace(t *command.Task, cause error) time.Duration {
	if t.Exclusive && errors.Is(cause, ErrDropped) {
		// Its next attempt may be under way: there is no time to ask.
		return 0
	}
	return stopGrace
}
