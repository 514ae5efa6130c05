package worker

import (
	"context"
	"sync"
	"time"
)

// runContext is the context of one run. It makes a context.WithCancelCause when somebody first waits
// for it. Most tasks that take microseconds never do, and to make, link and end a context is a third
// of what such a task costs.
type runContext struct {
	parent context.Context

	mu sync.Mutex
	// made is the context that others wait for, and end ends it; nil: nobody has yet.
	made context.Context
	end  context.CancelCauseFunc
	// ended says that it has ended before that, for cause.
	ended bool
	cause error
}

// cancel ends the context for cause; nil: context.Canceled. Only the first call counts.
func (c *runContext) cancel(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.made != nil:
		c.end(cause)
	case !c.ended:
		if c.parent.Err() != nil {
			cause = context.Cause(c.parent) // that was first
		}
		c.ended, c.cause = true, cause
	}
}

// wanted makes the context.
func (c *runContext) wanted() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made == nil {
		parent := c.parent
		if c.ended {
			parent = context.WithoutCancel(parent) // whose end came later, if it did
		}
		c.made, c.end = context.WithCancelCause(parent)
		if c.ended {
			c.end(c.cause)
		}
	}
	return c.made
}

// Done implements context.Context.
func (c *runContext) Done() <-chan struct{} { return c.wanted().Done() }

// Err implements context.Context.
func (c *runContext) Err() error {
	c.mu.Lock()
	made, ended := c.made, c.ended
	c.mu.Unlock()
	switch {
	case made != nil:
		return made.Err()
	case ended:
		return context.Canceled
	}
	return c.parent.Err()
}

// Deadline implements context.Context.
func (c *runContext) Deadline() (time.Time, bool) { return c.parent.Deadline() }

// Value implements context.Context. Package context asks by this for what it attaches
// contexts to that are made of this one, and for the cause.
func (c *runContext) Value(key any) any { return c.wanted().Value(key) }

// String is what package fmt prints, which would read the fields of others meanwhile.
func (c *runContext) String() string { return "the context of a task" }
