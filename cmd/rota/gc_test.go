package main

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGOGCIsTheUsers(t *testing.T) {
	const set = 123
	defer debug.SetGCPercent(debug.SetGCPercent(set))
	t.Setenv("GOGC", "150")
	relaxGC()
	require.Equal(t, set, debug.SetGCPercent(set), "a value that the user has set stays")
	t.Setenv("GOGC", "")
	relaxGC()
	require.Equal(t, gcPercent, debug.SetGCPercent(set))
}
