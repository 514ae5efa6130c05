package harness

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestTheFirstCPUsAreThoseThatMayBeUsed(t *testing.T) {
	t.Parallel()
	var of, want unix.CPUSet
	for _, cpu := range []int{3, 5, 9} {
		of.Set(cpu)
	}
	want.Set(3)
	want.Set(5)
	set, err := firstCPUs(of, 2)
	require.NoError(t, err)
	require.Equal(t, want, set)
	for _, cores := range []int{0, 4} {
		_, err := firstCPUs(of, cores)
		require.ErrorContains(t, err, "1 to 3")
	}
}

func TestAProcessThatIsPinnedAlreadyGoesOn(t *testing.T) {
	t.Parallel()
	var may unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(0, &may))
	require.NoError(t, Pin(may.Count()))
	require.Error(t, Pin(may.Count()+1))
}
