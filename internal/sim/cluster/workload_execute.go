package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
)

// guardEvery is how often the deadline of an exclusive task is checked.
const guardEvery = lease / 40

// execute runs an attempt. A task that must not overlap is ended at 80 % of the lease that its agent knows of. Its
// guard does that, so it works while the agent is paused too.
func (p *process) execute(a *attempt) {
	began := time.Now()
	outcome := p.work(a)
	if a.exclusive {
		p.w.r.history.ran(a.AttemptKey, p.w.id, began, time.Now())
	}
	if !p.w.pass(p.ctx) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	if a.timed && p.dice(a, 3)%16 == 0 {
		a.state = mute // as a worker with a fault would be
	} else {
		p.finish(a, outcome)
	}
	p.startMore()
}

func (p *process) work(a *attempt) task.Outcome {
	over := time.NewTimer(p.duration(a))
	defer over.Stop()
	guard := time.NewTicker(guardEvery)
	defer guard.Stop()
	for {
		select {
		case <-over.C:
			return p.outcome(a)
		case <-a.stopped:
			return task.OutcomeStopped
		case <-p.ctx.Done():
			return task.OutcomeStopped
		case <-guard.C:
			p.mu.Lock()
			late := time.Since(p.renewed) > 8*lease/10
			p.mu.Unlock()
			if a.exclusive && late {
				return task.OutcomeStopped
			}
		}
	}
}

// duration is mostly short; one task in twenty may outlive a lease.
func (p *process) duration(a *attempt) time.Duration {
	n := p.dice(a, 1)
	if n%20 == 0 {
		return lease/2 + time.Duration(n%uint64(2*lease))
	}
	return time.Millisecond + time.Duration(n%uint64(300*time.Millisecond))
}

// outcome is that of an attempt which was not stopped.
func (p *process) outcome(a *attempt) task.Outcome {
	switch n := p.dice(a, 2) % 100; {
	case n < 10:
		return task.OutcomeFailed
	case n < 13:
		return task.OutcomeReturned
	case n < 15:
		return task.OutcomeLost
	}
	return task.OutcomeSucceeded
}

func (p *process) dice(a *attempt, of uint64) uint64 {
	return task.Mix(p.w.r.opts.Seed, of, a.Job, uint64(a.Index), a.Token)
}

// maxReported is how many attempts one report names.
const maxReported = 50

// reports sends what is done until it is answered. It ends when the stream breaks; what was not answered is sent
// again on the next one.
func (p *process) reports(ctx context.Context, st *stream, broken func()) {
	defer broken()
	for {
		p.mu.Lock()
		p.startMore()
		var batch []*attempt
		for _, a := range p.order {
			if a.state == done && len(batch) < maxReported {
				batch = append(batch, a)
			}
		}
		p.mu.Unlock()
		if len(batch) == 0 {
			select {
			case <-p.changed:
				continue
			case <-ctx.Done():
				return
			}
		}
		if !p.w.pass(ctx) || p.report(ctx, st, batch) != nil {
			return
		}
	}
}

// report sends a batch, and now and then sends it twice.
func (p *process) report(ctx context.Context, st *stream, batch []*attempt) error {
	op := &logpb.Report{Session: st.session}
	for _, a := range batch {
		g := &logpb.ReportGroup{
			Job: a.Job, TokenOffset: a.Offset(), Ranges: []*logpb.Range{{First: a.Index, Count: 1}},
			Outcome: uint32(a.outcome),
		}
		switch a.outcome {
		case task.OutcomeSucceeded:
			g.PackedOutputs = task.PackAppend(nil, []byte(a.Output()))
			g.OutputMissing = a.Missing()
		case task.OutcomeFailed:
			g.Reason, g.Error = uint32(task.ReasonError), "the dice said so"
		}
		op.Groups = append(op.Groups, g)
	}
	times := 1
	if len(batch)%7 == 0 || batch[0].Token%10 == 0 {
		times = 2
	}
	for range times {
		res, err := p.send(ctx, st, op, batch)
		if err != nil {
			if k := task.KindOf(err); k == task.KindInvalid || k == task.KindInternal {
				p.w.r.history.problem("report %v: %v", op, err)
			}
			return err
		}
		verdicts := sim.Verdicts(res.Exceptions)
		for _, a := range batch {
			v := verdicts[a.AttemptKey]
			if v == 0 {
				v = fsm.Recorded
			}
			p.w.r.history.reported(a.AttemptKey, a.outcome, v)
		}
	}
	return nil
}

// forget forgets attempts whose report was answered, unless the answer comes from a stream that was given up.
func (p *process) forget(from *stream, batch []*attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stream != from {
		return
	}
	for _, a := range batch {
		delete(p.attempts, a.AttemptKey)
		p.answered[a.AttemptKey] = struct{}{}
	}
	p.order = slices.DeleteFunc(p.order, func(a *attempt) bool { return slices.Contains(batch, a) })
}

// send sends a report and waits for its answer, or for the end of the stream. That the report
// has come to the server is acknowledged on its way back, as TCP does.
func (p *process) send(ctx context.Context, st *stream, op *logpb.Report, batch []*attempt) (fsm.Result, error) {
	got, err := Call(p.w.r.c, p.w.id, st.server, callTimeout, func(context.Context, *node.Node) (<-chan answer, error) {
		return st.report(op, batch), nil
	})
	if err != nil {
		return fsm.Result{}, err
	}
	select {
	case a := <-got:
		return a.res, a.err
	case <-ctx.Done():
		return fsm.Result{}, unknown("the stream broke")
	}
}
