package wire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

func TestASecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	s := wire.NewSecret()
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "token", s)
	encoded, err := json.Marshal(map[string]any{"token": s})
	require.NoError(t, err)
	for _, text := range []string{s.String(), fmt.Sprint(s), fmt.Sprintf("%v %s %#v %+v %x", s, s, s, s, s), log.String(), string(encoded)} {
		require.NotContains(t, text, s.Reveal())
		require.Contains(t, text, task.AccessID(s.Hash()))
	}
}

func TestASecretHasAForm(t *testing.T) {
	t.Parallel()
	s := wire.NewSecret()
	require.NotEqual(t, s, wire.NewSecret())
	got, err := wire.ParseSecret(" " + s.Reveal() + "\n")
	require.NoError(t, err)
	require.Equal(t, s, got)
	require.Len(t, s.Hash(), task.AccessHashBytes)
	for _, bad := range []string{"", "rota_", s.Reveal()[1:], s.Reveal() + "A", s.Reveal()[:len(s.Reveal())-1], strings.Replace(s.Reveal(), "_", " ", 1)} {
		_, err := wire.ParseSecret(bad)
		require.ErrorIs(t, err, task.ErrUnauthenticated, "%q", bad)
		if len(bad) > len("rota_") {
			require.NotContains(t, err.Error(), bad)
		}
	}
}
