package task

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestARoleIsKnownByItsName(t *testing.T) {
	t.Parallel()
	for _, want := range Roles() {
		got, err := ParseRole(string(want))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, name := range []string{"", "root", "Admin", "admin "} {
		_, err := ParseRole(name)
		require.ErrorIs(t, err, ErrInvalid, name)
		require.ErrorContains(t, err, "use server, admin, operator, submit, read, worker")
	}
}
