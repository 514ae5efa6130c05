package suite

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/jepsen-tests/nemesis"
)

func TestOnlyWorkThatBeganLaterProvesARecovery(t *testing.T) {
	t.Parallel()
	invoke := history.Op{Type: history.Invoke, F: history.FSubmit, Process: 1}
	ok := history.Op{Type: history.OK, F: history.FSubmit, Process: 1}
	require.False(t, acknowledgedSince([]history.Op{ok, invoke}))
	require.False(t, acknowledgedSince([]history.Op{{Type: history.Invoke, F: history.FRead}, {Type: history.OK, F: history.FRead}}))
	require.True(t, acknowledgedSince([]history.Op{ok, invoke, ok}))
}

func TestWhatAMachineCannotDoIsListedAsSkipped(t *testing.T) {
	t.Parallel()
	none := Abilities{Network: errors.New("no TUN devices"), Disk: errors.New("no FUSE")}
	require.Contains(t, none.Skipped(), "partition:one")
	require.Contains(t, none.Skipped(), "power")
	require.NotContains(t, none.Skipped(), "kill")
	faults, err := nemesis.Parse(nemesis.All, none.Meets)
	require.NoError(t, err)
	require.Len(t, faults, len(nemesis.Names())-len(none.Skipped()))
	_, err = nemesis.Parse("power", none.Meets)
	require.ErrorContains(t, err, "cannot do")
}
