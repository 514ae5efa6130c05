//go:build rotanext

package task

import (
	"slices"
	"time"
)

// The next version is one as a developer would add it, for the test of two builds: it has an op, a field of
// a spec, and another KeyRetention.
const laterVersions = 1

// laterRules is the rules of the next version. They follow from those of the newest released one.
func laterRules(before []since) []since {
	r := before[len(before)-1].rules
	r.KeyRetention = 48 * time.Hour
	return []since{{Version, r}}
}

// NextMeta is the key of the meta that stands for the new field of a spec: only in the log and in requests it
// is a field of its own.
const NextMeta = "rota.next"

func (s *Spec) laterNeeds() uint32 {
	if slices.ContainsFunc(s.Meta, func(p Pair) bool { return p.Key == NextMeta }) {
		return Version
	}
	return 0
}
