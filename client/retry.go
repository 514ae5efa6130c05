package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rota-scheduler/rota/internal/requestid"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/leader"
)

const (
	// maxUnready is the longest pause before a leader that was not ready is asked again.
	// Most are within milliseconds.
	maxUnready = 100 * time.Millisecond
	// maxRetryAfter bounds the delay that a server may ask for.
	maxRetryAfter = 30 * time.Second
	// attemptTimeout is how long one attempt may take if another one does no harm. It is for
	// servers that accept requests and then do nothing; dead connections are noticed sooner.
	attemptTimeout = 10 * time.Second
	// waitingAfter is how long a request may have no answer before Config.Waiting is called. A failover
	// takes less, and people begin to wonder after a second.
	waitingAfter = 900 * time.Millisecond
	// maxFaults is how often a request is tried that fails because of a fault of the server. A
	// fault may be that of one server, but most are the same everywhere.
	maxFaults = 5
)

// call is how an operation may be tried again.
type call struct {
	// op says what is done, for error messages: "submit a job".
	op string
	// mutation: it changes something, so it matters whether it took effect.
	mutation bool
	// safe: doing it twice does no harm, so it may be sent again when its outcome
	// is unknown. Reads are safe.
	safe bool
	// follow: it waits for a long time, so it moves to the leader as soon as one is known.
	follow bool
	// timeout of an attempt, where safe; 0: attemptTimeout, negative: none.
	timeout time.Duration
}

// do runs f on one server after the other until it succeeds, fails for good, or
// ctx ends.
func do[T any](ctx context.Context, c *Client, op call, f func(context.Context, *server) (T, error)) (T, error) {
	if !op.follow {
		var cancel func()
		ctx, cancel = c.bound(ctx, op.op)
		defer cancel()
	}
	a := c.attempts(ctx, op)
	for {
		var none T
		s, err := a.next()
		if err != nil {
			return none, err
		}
		attempt, stop := a.begin(s)
		v, err := f(attempt, s)
		moved := errors.Is(context.Cause(attempt), errNewLeader)
		stop()
		if err == nil {
			a.progress()
			return v, nil
		}
		if err := a.failed(err, moved); err != nil {
			return none, err
		}
	}
}

// bound is the context of one request. If the request takes long, Config.Waiting is called.
func (c *Client) bound(ctx context.Context, op string) (context.Context, func()) {
	cancel := func() {}
	if c.requestTimeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, c.requestTimeout)
	}
	if c.waiting == nil {
		return ctx, cancel
	}
	timer := time.AfterFunc(waitingAfter, func() { c.waiting(op) })
	return ctx, func() {
		timer.Stop()
		cancel()
	}
}

// attempts is the state of one operation between its attempts: next, begin, and
// then progress or failed, in turns.
type attempts struct {
	call
	c   *Client
	ctx context.Context

	tries int
	// back and unready, which is for leaders that were not ready yet, are the pauses since the
	// last progress, and faults counts since then.
	back, unready leader.Backoff
	faults        int
	server        *server
	// leads, the believed leader, and reign are as they were when server was chosen.
	leads string
	reign context.Context
	// avoid is the server that failed, where going elsewhere may help.
	avoid *server
	// hint is the leader that the last error named.
	hint   string
	hinted bool
	delay  time.Duration
	// unknown: some attempt may have taken effect.
	unknown bool
	// last is the newest error that says more than "time ran out".
	last *task.Error
}

func (c *Client) attempts(ctx context.Context, op call) *attempts {
	if requestid.From(ctx) == "" {
		ctx = requestid.With(ctx, requestid.New())
	}
	return &attempts{call: op, c: c, ctx: ctx}
}

// next waits for as long as it must, and returns the server for the next attempt, or
// the final error if there is no time for another one.
func (a *attempts) next() (*server, error) {
	if a.delay > 0 && !a.wait() {
		return nil, a.giveUp()
	}
	if a.ctx.Err() != nil || a.c.ctx.Err() != nil {
		return nil, a.giveUp()
	}
	// Taken before the choice of a server: a leader that changes in between ends
	// the attempt at once instead of being missed.
	a.leads, a.reign = a.c.leader.get()
	a.server = nil
	if a.hint != "" {
		// It is nil where the client is closed.
		a.server, _ = a.c.server(a.hint)
		a.hint = ""
	}
	if a.server == nil {
		a.server = a.c.pick(a.avoid)
	}
	if a.server == nil {
		return nil, a.giveUp()
	}
	a.tries++
	return a.server, nil
}

// wait waits for the delay, or until another server leads: what failed because there was no
// leader need not wait longer. It is false if no time is left.
func (a *attempts) wait() bool {
	if a.last != nil && a.last.Kind == task.KindExhausted || a.reign == nil {
		return a.c.pause(a.ctx, a.delay)
	}
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	defer context.AfterFunc(a.reign, cancel)()
	return a.c.pause(ctx, a.delay) || a.ctx.Err() == nil && a.c.ctx.Err() == nil
}

// begin returns the context of an attempt at s. It ends early where it is better
// to try elsewhere: after too long, and when another server becomes leader.
func (a *attempts) begin(s *server) (context.Context, func()) {
	if !a.safe {
		return a.c.finder.Naming(a.ctx), func() {}
	}
	ctx, cancel := context.WithCancelCause(a.c.finder.Naming(a.ctx))
	// The first news of a leader is no reason to move a request that is all but
	// answered, and no request needs to move that is at the new leader.
	move := a.leads != "" || a.follow
	stopReign := context.AfterFunc(a.reign, func() {
		if now, _ := a.c.leader.get(); now != s.addr && move {
			cancel(errNewLeader)
		}
	})
	stopTimer := func() {}
	if a.timeout >= 0 {
		timeout := a.timeout
		if timeout == 0 {
			timeout = attemptTimeout
		}
		ctx, stopTimer = context.WithTimeout(ctx, timeout)
	}
	return ctx, func() {
		stopReign()
		stopTimer()
		cancel(nil)
	}
}

// progress notes that the server did its work.
func (a *attempts) progress() {
	a.back.Reset()
	a.unready.Reset()
	a.faults, a.delay = 0, 0
	a.hinted, a.avoid = false, nil
	a.server.silent.Store(false)
	a.c.finder.Agree()
	a.c.leader.answered(a.server.addr)
}

// failed takes the error of an attempt and decides: nil means to go on with next,
// an error is final. moved says that the attempt was ended for a new leader.
func (a *attempts) failed(err error, moved bool) (final error) {
	var e *task.Error
	if !errors.As(wire.FromStatus(err), &e) {
		return fmt.Errorf("%s: %w", a.op, err)
	}
	if a.last == nil || !errors.Is(e, context.Canceled) && !errors.Is(e, context.DeadlineExceeded) {
		// The caller knows that time ran out; what failed before that helps more.
		a.last = e
	}
	a.unknown = a.unknown || a.mutation && e.Kind == task.KindUnknownOutcome
	if errors.Is(e, task.ErrInternal) {
		a.faults++
	}
	if e.Kind == task.KindOtherCluster {
		// The server has done nothing, so asking again does no harm.
		a.delay = 0
		if err := a.c.finder.SameCluster(a.ctx); err != nil {
			return fmt.Errorf("%s: %w", a.op, err)
		}
		return nil
	}
	switch retriable := e.Kind == task.KindExhausted || e.Kind == task.KindUnavailable || e.Kind == task.KindUnknownOutcome; {
	case a.unknown && (e.Kind == task.KindInternal || e.Kind == task.KindUnauthenticated || e.Kind == task.KindDenied):
		// That this attempt met a fault, or that the token was revoked meanwhile, says nothing about the earlier one.
		final = a.unknownOutcome(e)
	case !retriable, a.safe && a.faults >= maxFaults:
		final = fmt.Errorf("%s: %w", a.op, e)
		if errors.Is(e, task.ErrInternal) {
			final = fmt.Errorf("%w (request id %s, by which the logs of the servers name it)", final, requestid.From(a.ctx))
		}
	case e.Kind == task.KindUnknownOutcome && !a.safe:
		final = a.unknownOutcome(e)
	case a.ctx.Err() != nil:
		// The caller's time is over, which says nothing about the server; next says so.
	case moved:
		a.server.silent.Store(true)
		a.delay, a.avoid = 0, nil
	default:
		a.c.log.Debug("a request failed and is tried again", "request", a.op, "request_id", requestid.From(a.ctx), "server", a.server.addr, "error", e)
		a.plan(e)
	}
	return final
}

// plan decides where and when to try again after e.
func (a *attempts) plan(e *task.Error) {
	now := time.Now()
	if e.Leader == a.server.addr {
		// It leads, and is not ready yet. There is nowhere better to go: the one that led
		// before may be silent for ever.
		a.hint, a.avoid, a.delay = e.Leader, nil, min(a.unready.Next()/4, maxUnready)
		return
	}
	if e.Kind != task.KindExhausted {
		// It is just as full through any other server.
		a.avoid = a.server
		if errors.Is(e, context.DeadlineExceeded) {
			a.server.silent.Store(true)
		}
		a.c.leader.failed(a.server.addr, now)
	}
	if e.Leader != "" && e.Leader != a.server.addr {
		a.c.finder.Learn(e.Leader)
		a.c.leader.hinted(a.server.addr, e.Leader, now)
		if !a.hinted {
			// Straight on to the leader; but two servers that point at each other must
			// not be asked without a pause.
			a.hint, a.hinted, a.delay = e.Leader, true, 0
			return
		}
	}
	a.hinted = false
	a.delay = max(a.back.Next(), min(e.RetryAfter, maxRetryAfter))
}

// giveUp is the final error of an operation that has no time left.
func (a *attempts) giveUp() error {
	e := &task.Error{Kind: task.KindUnavailable, Err: a.ctx.Err()}
	if e.Err == nil {
		e.Err = ErrClosed
	}
	if a.tries == 0 {
		e.Msg = a.op + ": not tried"
		return e
	}
	e.Msg = fmt.Sprintf("%s: gave up after %d attempts", a.op, a.tries)
	if a.tries == 1 {
		e.Msg = a.op + ": gave up after 1 attempt"
	}
	switch {
	case a.unknown:
		e.Kind = task.KindUnknownOutcome
		e.Msg += ", and it is not known whether one of them took effect"
	case a.last != nil && a.last.Kind == task.KindExhausted:
		e.Kind = task.KindExhausted
	}
	if a.last != nil && !errors.Is(a.last, e.Err) {
		e.Msg += " (the last one: " + a.last.Msg + ")"
	}
	return e
}

// unknownOutcome is the error of a request that must not be sent twice.
func (a *attempts) unknownOutcome(e *task.Error) error {
	out := &task.Error{
		Kind: task.KindUnknownOutcome, Leader: e.Leader,
		Msg: fmt.Sprintf("%s: it is not known whether it took effect; look before you send it again, or give it a request key (%s)", a.op, e.Msg),
	}
	switch err := a.ctx.Err(); {
	case err != nil:
		out.Err = err
	case a.c.ctx.Err() != nil:
		out.Err = ErrClosed
	case !errors.Is(e, context.Canceled):
		// A server that is shut down cancels too, but the caller did not.
		out.Err = e.Err
	}
	return out
}

// pause waits for d. It is false when ctx ended, or the client was closed, before.
func (c *Client) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-c.ctx.Done():
		return false
	}
}
