package suite

import (
	"bytes"
	"errors"
	"slices"
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
	none := Abilities{Network: errors.New("no TUN devices"), Disk: errors.New("no FUSE"), Clock: errors.New("no go command"), Source: errors.New("no go command")}
	require.Contains(t, none.Skipped(), "partition:one")
	require.Contains(t, none.Skipped(), "power")
	require.Contains(t, none.Skipped(), "clock:bump")
	require.NotContains(t, none.Skipped(), "kill")
	var told bytes.Buffer
	none.Doctor(&told)
	require.Regexp(t, `(?m)^clock:bump +clock +skipped: `, told.String())
	require.Regexp(t, `(?m)^clock .*: no: no go command$`, told.String())
	for _, f := range nemesis.Catalogue() {
		require.Regexp(t, `(?m)^`+f.Kind+` +`+f.Need.String()+` `, told.String())
	}
	faults, err := nemesis.Parse(nemesis.All, none.Meets)
	require.NoError(t, err)
	lasting := slices.DeleteFunc(nemesis.Catalogue(), func(f nemesis.Fault) bool { return !f.Lasts() || !none.Meets(f.Need) })
	require.Len(t, faults, len(nemesis.Names())-len(none.Skipped())-len(lasting))
	_, err = nemesis.Parse("power", none.Meets)
	require.ErrorContains(t, err, "cannot do")
}
