package worker

import (
	"context"
	"errors"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/command"
	"github.com/rota-scheduler/rota/worker/report"
	"github.com/rota-scheduler/rota/worker/tasklog"
)

// runCommand runs a task as a program.
func (w *Worker) runCommand(ctx context.Context, s *slot, r *run) report.Result {
	if command.Supported && !w.cfg.Commands {
		return report.Result{Kind: report.Failed, Err: noCommands}
	}
	t := &r.task
	log := w.logs.Open(tasklog.Key{Job: t.Job, Index: t.Index, Token: t.Token})
	defer log.End()
	got, err := w.commands.Run(ctx, &s.command, &command.Task{
		Work: r.work.command, Job: t.Job, Index: t.Index, Value: t.Value, Attempt: t.Attempt, Token: t.Token,
		Payload: t.Payload, Exclusive: r.work.Exclusive, Log: log,
	})
	if err != nil {
		return w.unhealthy(err)
	}
	return commandResult(ctx, &got)
}

// noCommands is why a worker that runs handlers refuses commands.
const noCommands = "this worker does not run commands: start it with commands allowed, or require a label of one that does"

// commandResult is the result of a task whose command ended in the context ctx.
func commandResult(ctx context.Context, c *command.Result) report.Result {
	res := report.Result{Err: report.ErrorText(c.Err), Stderr: c.Stderr, StderrMissing: c.StderrMissing, Output: c.Output, Usage: c.Usage}
	switch c.End {
	case command.Stopped:
		ended := endedBy(ctx)
		if res.Kind, res.Err = ended.Kind, ended.Err; res.Outcome != rotav1.Outcome_OUTCOME_FAILED {
			// Only a task that was cancelled keeps its output. Others run again.
			if res.Output = nil; errors.Is(context.Cause(ctx), ErrStopped) {
				res.Output, res.Missing = c.LastOutput(task.MaxStoppedOutput)
			}
			return res
		}
	case command.Expired:
		res.Kind, res.Err = report.Stopped, ErrLease.Error()
	case command.Lost:
		res.Kind = report.Lost
	case command.Failed:
		res.Kind = report.Failed
	case command.FailedForGood:
		res.Kind = report.FailedForGood
	default:
		res.Kind = exited(c.Exit)
	}
	res.Missing, res.Head = c.Missing, c.Head
	return res
}

// exited is the kind of a command that ended by itself.
func exited(code int32) report.Kind {
	k := report.Kind{Outcome: rotav1.Outcome_OUTCOME_SUCCEEDED, HasExit: true, Exit: code}
	if code != 0 {
		k.Outcome, k.Reason = rotav1.Outcome_OUTCOME_FAILED, rotav1.Reason_REASON_EXIT_CODE
	}
	return k
}

// commandGrace is how long a command that was asked to end for a cause may take.
func commandGrace(t *command.Task, cause error) time.Duration {
	if t.Exclusive && errors.Is(cause, ErrDropped) {
		// Its next attempt may run already: there is no time to ask.
		return 0
	}
	return stopGrace
}
