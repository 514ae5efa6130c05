package child

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/process"
)

func script(t *testing.T, text string) Config {
	t.Helper()
	return Config{
		Role: "peer", Dir: t.TempDir(), Path: "/bin/sh", Args: []string{"-c", text},
		Ready: func(context.Context) error { return errors.New("it does not answer") },
	}
}

// The words are those of Go's servers, of Redis, and of PostgreSQL.
func TestAProcessThatFindsItsPortTakenIsToldFromOthers(t *testing.T) {
	t.Parallel()
	for _, said := range []string{
		`fatal: Error listening on port: 127.0.0.1:1, "listen tcp 127.0.0.1:1: bind: address already in use"`,
		"# Warning: Could not create server TCP listening socket 127.0.0.1:1: bind: Address already in use",
		`LOG:  could not bind IPv4 address "127.0.0.1": Address already in use`,
	} {
		_, err := Start(t.Context(), script(t, "echo '"+said+"' >&2; exit 1"))
		require.ErrorIs(t, err, ErrPortTaken, said)
	}
	_, err := Start(t.Context(), script(t, "echo no memory >&2; exit 1"))
	require.ErrorIs(t, err, process.ErrEnded)
	require.NotErrorIs(t, err, ErrPortTaken)
}

func TestPortsAreNobodyElsesUntilTheyAreReleased(t *testing.T) {
	t.Parallel()
	mine, err := TakePorts(6)
	require.NoError(t, err)
	require.Len(t, mine, 6)
	for range 20 {
		theirs, err := TakePorts(6)
		require.NoError(t, err)
		for _, port := range theirs {
			require.NotContains(t, mine, port)
		}
		theirs.Release()
	}
	mine.Release()
}

func TestAProcessSaysThatItIsReadyByALine(t *testing.T) {
	t.Parallel()
	cfg := script(t, "echo ready; exec sleep 1000")
	cfg.Ready = nil
	p, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	require.True(t, p.Running())
	p.Kill()
	require.NoError(t, p.Start(t.Context()))
	StopAll(t.Context(), p, nil)
	require.False(t, p.Running())

	cfg.Args = []string{"-c", "echo hello; exec sleep 1000"}
	p, err = Start(t.Context(), cfg)
	require.ErrorContains(t, err, `it wrote "hello\n"`)
	require.False(t, p.Running())

	cfg.Args = []string{"-c", "exit 3"}
	_, err = Start(t.Context(), cfg)
	require.ErrorContains(t, err, "exit status 3")
}
