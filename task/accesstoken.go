package task

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// An access token is a secret that gives a role. It is a different thing than the fencing token of an attempt.

const (
	// MaxAccessTokens bounds the access tokens of a cluster: every server has all of them in memory.
	MaxAccessTokens = 1024
	// MaxQueuePatterns bounds the patterns of queues of one of them: each call looks at all of them.
	MaxQueuePatterns = 32
	// MaxAccessTTL bounds how long one may be valid.
	MaxAccessTTL = 10 * 365 * 24 * time.Hour
	// MaxAccessRate bounds the submits per second that one may be limited to.
	MaxAccessRate = 1_000_000

	// AccessHashBytes is the size of the hash that stands for one in the replicated state, bytes.
	AccessHashBytes = 32
	// accessIDBytes is how much of the hash is the id, bytes: enough to tell 1,024 apart, short enough to type.
	accessIDBytes = 6
)

// AccessID is the public id of the token with a hash.
func AccessID(hash []byte) string { return hex.EncodeToString(hash[:min(len(hash), accessIDBytes)]) }

// AccessToken is what is known of a token but for its hash.
type AccessToken struct {
	Name string
	Role Role
	// Queues are patterns of the queues that it is for; none: all.
	Queues []string
	// TTL is how long it is valid; 0: until it is revoked.
	TTL time.Duration
	// Rate is the submits per second that are meant for it; 0: as many as the servers allow. No server enforces it yet.
	Rate uint32
}

// Validate is Rules.ValidAccessToken by the newest rules.
func (t *AccessToken) Validate() error { return newest.ValidAccessToken(t) }

// ValidAccessToken returns what is wrong with a token that is to be made.
func (r *Rules) ValidAccessToken(t *AccessToken) error {
	if err := r.validName("name of the token", t.Name, false); err != nil {
		return err
	}
	if _, err := ParseRole(string(t.Role)); err != nil {
		return err
	}
	switch {
	case t.Role == RoleServer:
		return Errorf(KindInvalid, "a token cannot have the role server: servers have certificates; make one with rota tls cert --role server")
	case t.Role == RoleAdmin && len(t.Queues) > 0:
		return Errorf(KindInvalid, "an admin has the rights for all queues: leave the queues out, or use the role operator")
	case t.TTL < 0 || t.TTL > r.MaxAccessTTL:
		return Errorf(KindInvalid, "a token cannot be valid for %v: use more than 0 and up to %v, or leave it out", t.TTL, r.MaxAccessTTL)
	case t.Rate > r.MaxAccessRate:
		return Errorf(KindInvalid, "a rate of %d submits per second is out of range: use up to %d", t.Rate, r.MaxAccessRate)
	}
	return r.validQueuePatterns(t.Queues)
}

// validQueuePatterns checks patterns of queues: names, or beginnings of names with * at their ends.
func (r *Rules) validQueuePatterns(patterns []string) error {
	if len(patterns) > r.MaxQueuePatterns {
		return Errorf(KindTooLarge, "%d patterns of queues are too many: use up to %d, such as team-a-*", len(patterns), r.MaxQueuePatterns)
	}
	for i, p := range patterns {
		name := strings.TrimSuffix(p, "*")
		if strings.Contains(name, "*") {
			return Errorf(KindInvalid, "%q is no pattern of queues: * may stand at the end only, such as team-a-*", p)
		}
		if err := r.validName("pattern of queues", p, false); err != nil {
			return err
		}
		if slices.Contains(patterns[:i], p) {
			return Errorf(KindInvalid, "the pattern of queues %q is given twice", p)
		}
	}
	return nil
}

// MatchesQueue says whether one of the patterns is that of a queue. No patterns are those of all queues.
func MatchesQueue(patterns []string, queue string) bool {
	if len(patterns) == 0 {
		return true
	}
	return slices.ContainsFunc(patterns, func(p string) bool {
		if begin, ok := strings.CutSuffix(p, "*"); ok {
			return strings.HasPrefix(queue, begin)
		}
		return p == queue
	})
}
