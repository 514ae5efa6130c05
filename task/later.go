//go:build !rotanext

package task

// What later_next.go adds for the test of two builds. This build has nothing of it.

const laterVersions = 0

func laterRules([]since) []since { return nil }

func (s *Spec) laterNeeds() uint32 { return 0 }
