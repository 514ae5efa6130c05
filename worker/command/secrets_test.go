//go:build linux

package command

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheEnvironmentIsBlankedButForWhatCommandsGet(t *testing.T) {
	t.Parallel()
	in := "A=secret\x00PATH=/bin\x00PATHS=x\x00\x00HOME=/root\x00B=2"
	require.Equal(t, "\x00\x00\x00\x00\x00\x00\x00\x00\x00PATH=/bin\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00HOME=/root\x00\x00\x00\x00", string(blank([]byte(in))))
	require.Empty(t, blank(nil))
	require.Equal(t, "HOME=/\x00", string(blank([]byte("HOME=/\x00"))))
}
