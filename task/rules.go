package task

import "time"

// Rules are the limits, defaults and spans of time that applying an entry of the log depends on.
// They belong to a version of the log: all servers must take them from the same one, whatever
// their builds know. docs/upgrade.md says how to change one.
type Rules struct {
	// Of specs and tasks; see limits.go.
	MaxTasks, MaxPayload, MaxRequestKey, MaxName int
	MaxArgs, MaxArgBytes, MaxPairs, MaxPairBytes int
	MaxValueRuns, MaxPriority, MaxAttempts       int
	MaxDelay                                     time.Duration
	// DefaultAttempts is put into a spec where it is proposed.
	DefaultAttempts uint32

	// Of what happens to tasks and jobs.
	MaxLost                      uint8
	BackoffBase, BackoffMax      time.Duration
	ReportMargin, OpenTimeout    time.Duration
	RetainSucceeded, RetainOther time.Duration
	KeyRetention                 time.Duration
	// What attempts leave behind beside their output, bytes.
	MaxStderrTail, MaxAttemptStderr int

	// Of the cluster.
	MaxLiveJobs, MaxWorkers, MaxServers int
	MaxSlots, MaxOutstanding            uint32

	// Of access tokens, which came with version 4.
	MaxAccessTokens, MaxQueuePatterns int
	MaxAccessTTL                      time.Duration
	MaxAccessRate                     uint32
}

// since is the rules from a version on.
type since struct {
	version uint32
	rules   Rules
}

// firstRules is what versions have meant from the first one on. What a version has meant once, it means
// for ever: a constant that changes stands here as a number, and in the rules of a later version.
var firstRules = Rules{
	MaxTasks: MaxTasks, MaxPayload: MaxPayload, MaxRequestKey: MaxRequestKey, MaxName: MaxName,
	MaxArgs: MaxArgs, MaxArgBytes: MaxArgBytes, MaxPairs: MaxPairs, MaxPairBytes: MaxPairBytes,
	MaxValueRuns: MaxValueRuns, MaxPriority: MaxPriority, MaxAttempts: MaxAttempts, MaxDelay: MaxDelay,
	DefaultAttempts: DefaultAttempts,
	MaxLost:         MaxLost, BackoffBase: BackoffBase, BackoffMax: BackoffMax,
	ReportMargin: ReportMargin, OpenTimeout: OpenTimeout,
	RetainSucceeded: RetainSucceeded, RetainOther: RetainOther, KeyRetention: KeyRetention,
	MaxStderrTail: 8 << 10, MaxAttemptStderr: MaxAttemptStderr,
	MaxLiveJobs: MaxLiveJobs, MaxWorkers: MaxWorkers, MaxServers: MaxServers,
	MaxSlots: MaxSlots, MaxOutstanding: MaxOutstanding,
	MaxAccessTokens: MaxAccessTokens, MaxQueuePatterns: MaxQueuePatterns, MaxAccessTTL: MaxAccessTTL, MaxAccessRate: MaxAccessRate,
}

// allRules is the rules of all versions, the oldest first. Each holds until the next one begins.
var allRules = func() []since {
	all := append([]since{{1, firstRules}}, releasedRules...)
	return append(all, laterRules(all)...)
}()

// RulesOf returns the rules of a version. They must not be changed.
func RulesOf(version uint32) *Rules {
	for i := len(allRules) - 1; i > 0; i-- {
		if allRules[i].version <= version {
			return &allRules[i].rules
		}
	}
	return &allRules[0].rules
}

// newest is the rules of the newest version, for those who have no log: clients. Servers check again.
var newest = RulesOf(Version)

// StoredRules are those by which a spec that stands in the log is completed. They are the first ones, whatever
// the version: what a stored spec leaves out means the same for ever. A default that changes is put into specs
// where they are proposed.
var StoredRules = &allRules[0].rules

// Backoff returns how long a task waits after its failures-th failed attempt (from 1 on). It is a
// pure function of its arguments and of the rules.
func (r *Rules) Backoff(job uint64, index, failures uint32) time.Duration {
	d := r.BackoffBase
	for i := uint32(1); i < failures && d < r.BackoffMax; i++ {
		d *= 2
	}
	d = min(d, r.BackoffMax)
	// In 1/1024: 768 to 1279 of 1024 is 75 % to 125 %.
	factor := 768 + time.Duration(Mix(job, uint64(index), uint64(failures))%512)
	return d * factor / 1024
}

// Retention is how long a finished job is kept that asked for so long; 0: it did not ask.
func (r *Rules) Retention(asked time.Duration, succeeded bool) time.Duration {
	switch {
	case asked > 0:
		return asked
	case succeeded:
		return r.RetainSucceeded
	}
	return r.RetainOther
}
