package fsm

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// Apply uses the rules of the entry's version. In each version every rule has a value.
func TestEachVersionHasAllRules(t *testing.T) {
	t.Parallel()
	for version := range uint32(Version + 1) {
		r := rulesOf(version)
		require.Equal(t, task.RulesOf(version), r.Rules, "version %d", version)
		for field, value := range reflect.ValueOf(*r).Fields() {
			require.False(t, value.IsZero(), "%s of version %d", field.Name, version)
		}
	}
}

// What a version means is in the logs of clusters: its numbers never change. A new number belongs to a new version.
func TestTheRulesOfAVersionStay(t *testing.T) {
	t.Parallel()
	for version := uint32(GateVersion); version <= RemovalVersion; version++ {
		r := *rulesOf(version)
		r.Rules = nil
		require.Equal(t, rules{
			maxReported: 65536, maxPlanned: 65536, maxSessionBytes: 64 << 20, maxSwept: 4096, maxNotes: 256 << 10, shortError: 128, sharedUsage: 4096,
			maxRemoved: 128, // of removals, which came with version 4
		}, r, "version %d", version)
	}
}
