package fsm

import "github.com/rota-scheduler/rota/task"

// rules is all constants that Apply reads, but for those that are fixed for ever: the size of a page, and
// what the digest is made of. They belong to a version; docs/upgrade.md says how to change one.
type rules struct {
	*task.Rules
	maxReported, maxPlanned uint64
	maxSessionBytes         int
	maxSwept                int
	maxNotes, shortError    int
	sharedUsage             int
	maxRemoved              int
}

// rulesOf returns the rules of a version.
func rulesOf(version uint32) *rules {
	return &rules{
		Rules:       task.RulesOf(version),
		maxReported: MaxReported, maxPlanned: MaxPlanned, maxSessionBytes: MaxSessionBytes,
		maxSwept: maxSwept, maxNotes: maxNotes, shortError: shortError, sharedUsage: sharedUsage,
		maxRemoved: task.MaxRemovedServers,
	}
}
