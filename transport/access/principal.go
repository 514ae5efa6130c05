package access

import (
	"strings"
	"time"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Principal is who makes a call, by a certificate or a token.
type Principal struct {
	// Role is what it may do; "": it has shown no credentials.
	Role task.Role
	Name string
	// NotAfter is when its certificate expires.
	NotAfter time.Time
	// Token is nil if a certificate decides.
	Token *logpb.AccessToken
}

// Queues are patterns of the queues that its rights are for; none: all.
func (p *Principal) Queues() []string { return p.Token.GetQueues() }

// Limited says whether its rights are for some queues only.
func (p *Principal) Limited() bool { return len(p.Queues()) > 0 }

// Sees says whether its rights are for a queue.
func (p *Principal) Sees(queue string) bool { return task.MatchesQueue(p.Queues(), queue) }

// String is how messages and logs name it.
func (p *Principal) String() string {
	switch {
	case p.Token != nil:
		return "the token " + p.Name + " (" + task.AccessID(p.Token.Hash) + ")"
	case p.Role != "":
		return "the certificate " + string(p.Role) + "/" + p.Name
	}
	return "a caller without credentials"
}

// Short names it in records: token/ci or admin/alice.
func (p *Principal) Short() string {
	if p.Token != nil {
		return "token/" + p.Name
	}
	return string(p.Role) + "/" + p.Name
}

// queuesText lists its queues for messages.
func (p *Principal) queuesText() string { return strings.Join(p.Queues(), ", ") }
