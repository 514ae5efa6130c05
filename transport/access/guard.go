package access

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/loglimit"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/secure"
)

// State is what a Guard knows of the cluster: this server's copy of it.
type State interface {
	// AccessToken returns the token with a hash.
	AccessToken(hash []byte) (*logpb.AccessToken, bool)
	// AccessChanged returns a channel that is closed at the next change of the tokens.
	AccessChanged() <-chan struct{}
	// QueueOf returns the queue of a job.
	QueueOf(job uint64) (string, error)
	// Fresh returns once the copy has all that was acknowledged before the call. Anybody can cause it: it bounds what it costs.
	Fresh(ctx context.Context) error
	// Now is the state machine's time, Unix ns.
	Now() int64
}

// Reason is the machine-readable reason of a denial.
type Reason string

// The reasons of denials.
const (
	reasonNobody       Reason = "no-credentials"
	reasonMalformed    Reason = "malformed-credentials"
	reasonUnknownToken Reason = "unknown-token"
	reasonExpiredToken Reason = "expired-token"
	reasonForged       Reason = "forged"
	reasonRight        Reason = "right"
	reasonQueue        Reason = "queue"
	reasonNoRule       Reason = "no-rule"
)

// Denial is a call that was refused.
type Denial struct {
	// Who asked, and from which IP address.
	Who, From string
	Call      string
	Right     task.Right
	Reason    Reason
}

// Counted is the denials that are counted together.
type Counted struct {
	Right  task.Right
	Reason Reason
}

// Config is what a Guard is made of.
type Config struct {
	State  State
	Logger *slog.Logger
	// Denied hears of each denial; nil: nobody does. It must not block.
	Denied func(Denial)
	// Plain lets everybody do everything who comes in plain text: the ports take it while a cluster changes to TLS.
	Plain bool
}

// Guard decides who may make which call of a server.
type Guard struct {
	state   State
	lines   *loglimit.Lines
	tell    func(Denial)
	rules   map[string]*Rule
	streams streams
	plain   bool

	mu      sync.Mutex
	denials map[Counted]int64
}

// New returns a guard that lets nobody in before SetRules was called. Run it.
func New(cfg Config) *Guard {
	return &Guard{state: cfg.State, lines: loglimit.New(cfg.Logger), tell: cfg.Denied, denials: map[Counted]int64{}, streams: newStreams(), plain: cfg.Plain}
}

// SetRules sets the rules of all calls, before the server serves.
func (g *Guard) SetRules(rules map[string]*Rule) { g.rules = rules }

// Run ends streams whose tokens are revoked or expire, until ctx ends.
func (g *Guard) Run(ctx context.Context) {
	g.watchStreams(ctx)
	g.lines.Close()
}

// Denials counts the calls that were refused since the start.
func (g *Guard) Denials() map[Counted]int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.denials)
}

func (g *Guard) denied(d Denial) {
	g.mu.Lock()
	g.denials[Counted{d.Right, d.Reason}]++
	g.mu.Unlock()
	g.lines.Warn("a call was refused", "who", d.Who, "from", d.From, "call", d.Call, "right", d.Right, "reason", d.Reason)
	if g.tell != nil {
		g.tell(d)
	}
}

// Unary is the interceptor of calls with one request and one answer.
func (g *Guard) Unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	c, ctx, err := g.admit(ctx, info.FullMethod)
	if err == nil {
		err = c.checkRequest(request)
	}
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return handle(ctx, request)
}

// admit finds out who makes a call, and whether that one may make such calls. The context that it returns belongs to
// the call.
func (g *Guard) admit(ctx context.Context, method string) (*Call, context.Context, error) {
	c := &Call{guard: g, rule: g.rules[method], method: method, who: &Principal{}, ctx: ctx}
	if c.rule == nil {
		c.rule = &Rule{}
		return nil, nil, c.refuse(reasonNoRule, task.Errorf(task.KindDenied, "%s has no rule of access: this is a fault of the server", c.name()))
	}
	if c.rule.Right != task.RightAnybody {
		who, reason, err := g.identify(ctx, c.rule)
		if err != nil {
			if reason == "" {
				return nil, nil, err // it is not known
			}
			return nil, nil, c.refused(reason, err)
		}
		c.who = who
	}
	if err := c.checkRole(); err != nil {
		return nil, nil, err
	}
	ctx = context.WithValue(ctx, callKey{}, c)
	c.ctx = ctx
	return c, ctx, nil
}

// refused counts and logs a refusal that has an error already.
func (c *Call) refused(reason Reason, err error) error {
	c.guard.denied(Denial{Who: c.who.String(), From: fromOf(c.ctx), Call: c.name(), Right: c.rule.Right, Reason: reason})
	return err
}

// identify returns who makes a call. reason is empty if that cannot be found out now.
func (g *Guard) identify(ctx context.Context, rule *Rule) (who *Principal, reason Reason, err error) {
	if g.plain && secure.IsPlain(ctx) {
		return anybody(rule.Right), "", nil
	}
	md, _ := metadata.FromIncomingContext(ctx)
	cert, hasCert := secure.FromContext(ctx)
	byCert := &Principal{Role: cert.Role, Name: cert.Name, NotAfter: cert.NotAfter}
	if vouched := md.Get(wire.PrincipalKey); len(vouched) > 0 {
		switch {
		case !hasCert || cert.Role != task.RoleServer:
			return nil, reasonForged, task.Errorf(task.KindDenied, "only servers may say for whom they ask")
		case rule.Right == task.RightServe:
			return byCert, "", nil // the server itself asks, on its way to an answer
		}
		return g.vouched(ctx, vouched)
	}
	if header := md.Get(wire.AuthorizationKey); len(header) > 0 {
		return g.byHeader(ctx, header)
	}
	if !hasCert {
		return &Principal{}, "", nil
	}
	return byCert, "", nil
}

// anybody is who makes calls in plain text: as in a cluster without certificates, everybody may do everything.
func anybody(right task.Right) *Principal {
	roles := task.Roles()
	if i := slices.IndexFunc(roles, func(r task.Role) bool { return r.Has(right) }); i >= 0 {
		return &Principal{Role: roles[i], Name: "plain-text"}
	}
	return &Principal{}
}

// byHeader returns who has the token in a header "authorization".
func (g *Guard) byHeader(ctx context.Context, header []string) (*Principal, Reason, error) {
	scheme, text, _ := strings.Cut(header[0], " ")
	if len(header) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return nil, reasonMalformed, task.Errorf(task.KindUnauthenticated, "the header authorization must be Bearer and a token, once")
	}
	secret, err := wire.ParseSecret(text)
	if err != nil {
		return nil, reasonMalformed, err
	}
	return g.byToken(ctx, secret.Hash())
}
