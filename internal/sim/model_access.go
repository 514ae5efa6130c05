package sim

import (
	"crypto/sha256"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// accessVersion is the first version of the log that has access tokens, and accessIDBytes how many bytes of its hash
// are the id of one.
const (
	accessVersion = 4
	accessIDBytes = 6
)

func (m *Model) createAccessToken(o *logpb.CreateAccessToken, r *fsm.Result) {
	t := o.Token
	switch {
	case m.version < accessVersion:
		refuse(r, task.KindUnsupported)
		return
	case accessFault(t) != "":
		refuse(r, accessFault(t))
		return
	}
	if old := m.Access[string(t.Hash)]; old != nil {
		asked := proto.CloneOf(t)
		asked.CreatedNs, asked.ExpiresNs, asked.Creator = old.CreatedNs, old.ExpiresNs, old.Creator
		if r.Existed = proto.Equal(old, asked); !r.Existed {
			refuse(r, task.KindConflict)
		}
		return
	}
	for hash := range m.Access {
		if hash[:accessIDBytes] == string(t.Hash[:accessIDBytes]) {
			m.saw("another access token of this id")
			refuse(r, task.KindConflict)
			return
		}
	}
	maps.DeleteFunc(m.Access, func(_ string, t *logpb.AccessToken) bool {
		over := t.ExpiresNs > 0 && t.ExpiresNs <= m.Clock
		if over {
			m.saw("access token expired")
		}
		return over
	})
	if len(m.Access) == task.MaxAccessTokens {
		refuse(r, task.KindExhausted)
		return
	}
	made := proto.CloneOf(t)
	made.CreatedNs, made.ExpiresNs = m.Clock, 0
	if t.TtlNs > 0 {
		made.ExpiresNs = min(m.Clock+t.TtlNs, fsm.MaxClock)
	}
	m.Access[string(t.Hash)] = made
	m.saw("access token made")
}

func (m *Model) revokeAccessToken(o *logpb.RevokeAccessToken, r *fsm.Result) {
	switch {
	case m.version < accessVersion:
		refuse(r, task.KindUnsupported)
	case m.Access[string(o.Hash)] == nil:
		refuse(r, task.KindNotFound)
	default:
		m.saw("access token revoked")
		delete(m.Access, string(o.Hash))
	}
}

// accessFault is why a token cannot be made; "": it can. The load asks only for the faults that are named here.
func accessFault(t *logpb.AccessToken) task.Kind {
	switch role := task.Role(t.GetRole()); {
	case t == nil, len(t.Hash) != sha256.Size, t.Name == "", t.TtlNs < 0, !slices.Contains(task.Roles(), role), role == task.RoleServer,
		role == task.RoleAdmin && len(t.Queues) > 0:
		return task.KindInvalid
	}
	for _, q := range t.Queues {
		if q == "" || strings.Contains(strings.TrimSuffix(q, "*"), "*") {
			return task.KindInvalid
		}
	}
	return ""
}

// AccessList returns the tokens in the order of their hashes.
func (m *Model) AccessList() (out []*logpb.AccessToken) {
	for _, hash := range slices.Sorted(maps.Keys(m.Access)) {
		out = append(out, m.Access[hash])
	}
	return out
}
