package task

import (
	"fmt"
	"slices"
)

// Policy chooses the worker for a task.
type Policy uint8

// The policies. The numbers are stored and must not change.
const (
	LeastLoaded Policy = 1
	Random      Policy = 2
)

// policyNames are the names of the policies, in the order of their numbers from 1 on.
var policyNames = []string{"least-loaded", "random"}

// PolicyNames returns the names of all policies.
func PolicyNames() []string { return slices.Clone(policyNames) }

// String returns the name of the policy, as in JSON and on command lines.
func (p Policy) String() string {
	if p.Valid() {
		return policyNames[p-1]
	}
	return fmt.Sprintf("policy-%d", uint8(p))
}

// Valid says whether p is a known policy.
func (p Policy) Valid() bool { return p >= 1 && int(p) <= len(policyNames) }

// ParsePolicy is the inverse of String. ok is false for a name that no policy has.
func ParsePolicy(name string) (p Policy, ok bool) {
	i := slices.Index(policyNames, name)
	return Policy(i + 1), i >= 0
}
