package access

import (
	"cmp"
	"context"
	"errors"
	"net"
	"strings"

	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// Call is a call that is being decided, or was allowed. A nil *Call is one to a server without a Guard: everything is
// allowed.
type Call struct {
	guard  *Guard
	rule   *Rule
	method string
	who    *Principal
	ctx    context.Context
}

type callKey struct{}

// CallOf returns the call that a context belongs to; nil: nobody is asked who they are.
func CallOf(ctx context.Context) *Call {
	c, _ := ctx.Value(callKey{}).(*Call)
	return c
}

// Principal returns who makes the call; nil: nobody is asked.
func (c *Call) Principal() *Principal {
	if c == nil {
		return nil
	}
	return c.who
}

// Sees says whether an answer to the call may have what is of a queue.
func (c *Call) Sees(queue string) bool { return c == nil || c.who.Sees(queue) }

// SeesAll says whether an answer to the call may have what is of any queue.
func (c *Call) SeesAll() bool { return c == nil || !c.who.Limited() }

// CheckQueue refuses what the caller may not do with a queue. Handlers of streams call it for each message.
func (c *Call) CheckQueue(queue string) error {
	if queue = cmp.Or(queue, task.DefaultQueue); c.Sees(queue) {
		return nil
	}
	return c.refuse(reasonQueue, task.Errorf(task.KindDenied, "%s has the right %q for the queues %s, and not for %q: ask an admin for a token that has it (rota token create --role %s --queue %q --name NAME)",
		c.who, c.rule.Right, c.who.queuesText(), queue, c.role(), queue))
}

// CheckAllQueues refuses a caller that has rights for some queues only. hint says what to do about it.
func (c *Call) CheckAllQueues(hint string) error {
	if c.SeesAll() {
		return nil
	}
	return c.refuse(reasonQueue, task.Errorf(task.KindDenied, "%s has the right %q for the queues %s only: %s", c.who, c.rule.Right, c.who.queuesText(), hint))
}

// CheckJob refuses what the caller may not do with a job.
func (c *Call) CheckJob(job uint64) error {
	if c == nil || !c.who.Limited() {
		return nil
	}
	queue, err := c.guard.state.QueueOf(job)
	if errors.Is(err, task.ErrNotFound) {
		// This server may be behind. A job never changes its queue, so this is the last word.
		if err = c.guard.state.Fresh(c.ctx); err == nil {
			queue, err = c.guard.state.QueueOf(job)
		}
	}
	if err != nil {
		return err
	}
	return c.CheckQueue(queue)
}

// checkRole refuses a caller whose role has not the right, or not for what the call is about.
func (c *Call) checkRole() error {
	if !c.who.Role.Has(c.rule.Right) {
		if c.who.Role == "" {
			return c.refuse(reasonNobody, task.Errorf(task.KindUnauthenticated, "%s needs the right %q: show a certificate, or a token (ROTA_TOKEN, or rota login)", c.name(), c.rule.Right))
		}
		return c.refuse(reasonRight, task.Errorf(task.KindDenied, "%s has the role %s, and %s needs the right %q: ask an admin for a token that has it (rota token create --role %s --name NAME)",
			c.who, c.who.Role, c.name(), c.rule.Right, c.role()))
	}
	if c.rule.Scope == rotav1.Scope_SCOPE_CLUSTER && c.who.Limited() {
		return c.refuse(reasonQueue, task.Errorf(task.KindDenied, "%s has its rights for the queues %s only, and %s is about the whole cluster: ask an admin for a token without queues (rota token create --role %s --name NAME)",
			c.who, c.who.queuesText(), c.name(), c.role()))
	}
	return nil
}

// checkRequest refuses a request about a queue that the caller has no rights for.
func (c *Call) checkRequest(request any) error {
	if len(c.rule.field) == 0 || !c.who.Limited() {
		return nil
	}
	m, ok := request.(proto.Message)
	if !ok {
		return c.refuse(reasonQueue, task.Errorf(task.KindDenied, "%s names no queue", c.name()))
	}
	value := c.rule.value(m)
	switch {
	case c.rule.Scope == rotav1.Scope_SCOPE_JOB:
		return c.CheckJob(value.Uint())
	case c.rule.Scope == rotav1.Scope_SCOPE_LIST && value.String() == "":
		return nil
	}
	return c.CheckQueue(value.String())
}

// role is the one to ask for.
func (c *Call) role() task.Role {
	role, _ := task.LeastRole(c.rule.Right)
	return role
}

// name is how messages name the call: JobService.Submit.
func (c *Call) name() string {
	service, method, _ := strings.Cut(strings.TrimPrefix(c.method, "/"), "/")
	return service[strings.LastIndexByte(service, '.')+1:] + "." + method
}

// refuse counts and logs a refusal, and returns its error.
func (c *Call) refuse(reason Reason, err *task.Error) error {
	c.guard.denied(Denial{Who: c.who.String(), From: fromOf(c.ctx), Call: c.name(), Right: c.rule.Right, Reason: reason})
	return err
}

// fromOf is the IP address that a call comes from.
func fromOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(p.Addr.String())
	if err != nil {
		return p.Addr.String()
	}
	return host
}
