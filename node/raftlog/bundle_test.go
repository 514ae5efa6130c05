package raftlog

import (
	"log/slog"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config is that of a log in a folder.
func config(t *testing.T, dir, kind string, made bool) Config {
	return Config{
		Dir: dir, Kind: kind, Made: made, Fatal: func(err error) { t.Errorf("the server must stop: %v", err) }, Ending: t.Context().Done(),
		Logger: slog.New(slog.DiscardHandler), WALLogger: hclog.NewNullLogger(),
	}
}

func requireWords(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		require.ErrorContains(t, err, w)
	}
}
