package nemesis

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

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
	require.Len(t, all, len(Names())-3, "all but those that last")
	lasting, err := Parse("lasting:kill,lasting:partition,lasting:oneway", everything)
	require.NoError(t, err)
	for _, f := range lasting {
		require.True(t, f.Lasts())
	}
	for _, f := range all {
		require.False(t, f.Lasts(), "no fault would come behind it")
	}
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

func TestInARingEachServerHearsAMajorityOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, servers := range []int{3, 5} {
		cut := map[[2]int]bool{}
		for from, to := range ringCuts(servers) {
			require.NotEqual(t, from, to)
			cut[[2]int{from, to}] = true
		}
		heardBy := map[string]bool{}
		for to := range servers {
			heard := fmt.Sprint(to)
			count := 1
			for from := range servers {
				if from != to && !cut[[2]int{from, to}] {
					heard += fmt.Sprint(" ", from)
					count++
				}
			}
			require.Equal(t, servers/2+1, count, "server %d of %d", to, servers)
			heardBy[heard] = true
		}
		require.Len(t, heardBy, servers)
	}
	// Five reach their neighbours both ways.
	for from, to := range ringCuts(5) {
		require.NotContains(t, []int{1, 4}, (from-to+5)%5)
	}
}

func TestJumpsAreOfEveryOrderOfMagnitudeAndBothWays(t *testing.T) {
	t.Parallel()
	h := &harm{random: rand.New(rand.NewPCG(1, 1))}
	var ahead, back, short, long int
	for range 1000 {
		by := h.jump()
		if by > 0 {
			ahead++
		} else {
			back++
		}
		require.LessOrEqual(t, by.Abs(), longestJump)
		require.GreaterOrEqual(t, by.Abs(), shortestJump)
		if by.Abs() < time.Second {
			short++
		}
		if by.Abs() > 24*time.Hour {
			long++
		}
	}
	for _, n := range []int{ahead, back, short, long} {
		require.Greater(t, n, 100)
	}
}

func TestBlameTakesAnExcuseBack(t *testing.T) {
	t.Parallel()
	n := New(Config{})
	n.excuse("n1")
	n.excuse("n2")
	n.blame("n1")
	require.False(t, n.Excused("n1"))
	require.True(t, n.Excused("n2"))
}
