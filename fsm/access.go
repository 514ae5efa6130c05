package fsm

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Access tokens are a part of the state, so that each server can look at them by itself and one that is revoked is
// refused everywhere as soon as its entry is applied. Of each there is only the hash.

// accessVersion is the first one that has access tokens.
const accessVersion = 4

// createAccessToken makes a token. Whoever makes it sends the hash, so the same request again is the same token.
func (m *Machine) createAccessToken(o *logpb.CreateAccessToken, r *Result) {
	if r.Err = m.checkAccessToken(o.Token); r.Err != nil {
		return
	}
	if old := m.access[string(o.Token.Hash)]; old != nil {
		if r.Existed = sameAccess(old, o.Token); !r.Existed {
			r.Err = task.Errorf(task.KindConflict, "there is such a token already, with other rights: make another one")
		}
		return
	}
	if id := task.AccessID(o.Token.Hash); m.hasAccessID(id) {
		r.Err = task.Errorf(task.KindConflict, "there is another token with the id %s: make another one", id)
		return
	}
	m.forgetExpiredAccess()
	if len(m.access) >= m.rules.MaxAccessTokens {
		r.Err = task.Errorf(task.KindExhausted, "the cluster has %d access tokens, the limit: revoke one that nobody needs (rota token list)", m.rules.MaxAccessTokens)
		return
	}
	t := proto.CloneOf(o.Token)
	t.CreatedNs, t.ExpiresNs = m.clock, 0
	if t.TtlNs > 0 {
		t.ExpiresNs = min(t.CreatedNs+t.TtlNs, MaxClock)
	}
	m.setAccess(t)
	m.showAccess()
}

// revokeAccessToken forgets a token.
func (m *Machine) revokeAccessToken(o *logpb.RevokeAccessToken, r *Result) {
	t := m.access[string(o.Hash)]
	if t == nil {
		r.Err = task.Errorf(task.KindNotFound, "there is no access token %s: it was revoked, or has expired (rota token list)", task.AccessID(o.Hash))
		return
	}
	m.dropAccess(t)
	m.showAccess()
}

// forgetExpiredAccess makes room. There are few tokens, and it is done only where one is made.
func (m *Machine) forgetExpiredAccess() {
	for _, hash := range sortedKeys(m.access) {
		if t := m.access[hash]; accessExpired(t, m.clock) {
			m.dropAccess(t)
		}
	}
}

func (m *Machine) setAccess(t *logpb.AccessToken) {
	m.access[string(t.Hash)] = t
	m.accessSum += accessHash(t)
	m.dirtyAccess[string(t.Hash)] = struct{}{}
}

func (m *Machine) dropAccess(t *logpb.AccessToken) {
	delete(m.access, string(t.Hash))
	m.accessSum -= accessHash(t)
	m.dirtyAccess[string(t.Hash)] = struct{}{}
}

// showAccess lets readers see the tokens as they are now, and wakes those who wait for that.
func (m *Machine) showAccess() {
	shown := maps.Clone(m.access)
	m.shownAccess.Store(&shown)
	m.watchers.accessChanged()
}

func (m *Machine) hasAccessID(id string) bool {
	for _, t := range m.access {
		if task.AccessID(t.Hash) == id {
			return true
		}
	}
	return false
}

// AccessToken returns the token with a hash, also one that has expired. It does not wait for Apply. It must not be
// changed.
func (m *Machine) AccessToken(hash []byte) (*logpb.AccessToken, bool) {
	t := (*m.shownAccess.Load())[string(hash)]
	return t, t != nil
}

// AccessTokens returns all tokens, in the order in which they were made. They must not be changed.
func (m *Machine) AccessTokens() []*logpb.AccessToken {
	return slices.SortedFunc(maps.Values(*m.shownAccess.Load()), func(a, b *logpb.AccessToken) int {
		return cmp.Or(cmp.Compare(a.CreatedNs, b.CreatedNs), bytes.Compare(a.Hash, b.Hash))
	})
}

// accessExpired says whether a token is not valid any more at a time of the state machine, Unix ns.
func accessExpired(t *logpb.AccessToken, now int64) bool {
	return t.ExpiresNs > 0 && t.ExpiresNs <= now
}

// AccessExpired is accessExpired for those who decide by a token.
func AccessExpired(t *logpb.AccessToken, now int64) bool { return accessExpired(t, now) }

// sameAccess says whether a token is what a request asks for. When it was made, and by whom, is not asked for.
func sameAccess(have, asked *logpb.AccessToken) bool {
	a, b := proto.CloneOf(have), proto.CloneOf(asked)
	for _, t := range []*logpb.AccessToken{a, b} {
		t.CreatedNs, t.ExpiresNs, t.Creator = 0, 0, ""
	}
	return proto.Equal(a, b)
}

func (m *Machine) checkAccessToken(t *logpb.AccessToken) error {
	if len(t.GetHash()) != task.AccessHashBytes {
		return task.Errorf(task.KindInvalid, "the hash of an access token has %d bytes, not %d", task.AccessHashBytes, len(t.GetHash()))
	}
	if t.Creator != "" {
		if err := m.rules.ValidName("creator of the token", t.Creator); err != nil {
			return err
		}
	}
	return m.rules.ValidAccessToken(&task.AccessToken{
		Name: t.Name, Role: task.Role(t.Role), Queues: t.Queues, TTL: time.Duration(t.TtlNs), Rate: t.Rate,
	})
}

// accessHash is the digest of a token.
func accessHash(t *logpb.AccessToken) uint64 {
	words := []uint64{hashBytes(t.Hash), hashBytes([]byte(t.Name)), hashBytes([]byte(t.Role)), hashBytes([]byte(t.Creator)),
		uint64(t.Rate), uint64(t.TtlNs), uint64(t.CreatedNs), uint64(t.ExpiresNs)}
	for _, q := range t.Queues {
		words = append(words, hashBytes([]byte(q)))
	}
	return task.Mix(words...)
}

// loadAccess takes over tokens that were read back.
func (m *Machine) loadAccess(tokens []*logpb.AccessToken, sum uint64) error {
	for _, t := range tokens {
		if hasUnknown(t) {
			return errTooOld("access token %s has fields that it does not know", task.AccessID(t.Hash))
		}
		if len(t.Hash) != task.AccessHashBytes || m.access[string(t.Hash)] != nil {
			return fmt.Errorf("malformed access token %s", task.AccessID(t.Hash))
		}
		m.access[string(t.Hash)] = t
		m.accessSum += accessHash(t)
	}
	if m.accessSum != sum {
		return fmt.Errorf("the access tokens do not match their digest")
	}
	m.showAccess()
	return nil
}
