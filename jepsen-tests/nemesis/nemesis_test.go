package nemesis

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func everything(Need) bool { return true }

func TestListsOfFaults(t *testing.T) {
	t.Parallel()
	faults, err := Parse("kill,partition:one,none", everything)
	require.NoError(t, err)
	require.Len(t, faults, 2)
	all, err := Parse(All, everything)
	require.NoError(t, err)
	require.Len(t, all, len(Names()))
	some, err := Parse(All, func(n Need) bool { return n == NeedsNothing })
	require.NoError(t, err)
	require.Less(t, len(some), len(all))
	require.NotEmpty(t, some)
	_, err = Parse("partition:five", everything)
	require.ErrorContains(t, err, "partition:oneway", "the error says what there is")
	_, err = Parse("power", func(n Need) bool { return n != NeedsDisk })
	require.ErrorContains(t, err, "doctor")
}

func TestProcessesAreExcusedForTheNewestFaultOnly(t *testing.T) {
	t.Parallel()
	n := New(Config{})
	require.False(t, n.Excused("n1"))
	n.excuse("n1")
	require.True(t, n.Excused("n1"))
	n.excuseNobody()
	require.False(t, n.Excused("n1"))
}
