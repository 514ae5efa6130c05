//go:build rotanext

package task

import (
	"slices"
	"time"
)

// Version 4 is a version as a developer would add it, for the test of two builds: it has an op, a field of
// a spec, and another KeyRetention.
const Version = 4

var laterRules = []since{{Version, nextRules()}}

func nextRules() Rules {
	r := firstRules
	r.KeyRetention = 48 * time.Hour
	return r
}

// NextMeta is the key of the meta that stands for the new field of a spec: only in the log and in requests it
// is a field of its own.
const NextMeta = "rota.next"

// Needs is the first version that has all that the spec asks for.
func (s *Spec) Needs() uint32 {
	if slices.ContainsFunc(s.Meta, func(p Pair) bool { return p.Key == NextMeta }) {
		return Version
	}
	return 1
}
