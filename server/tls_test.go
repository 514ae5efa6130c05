package server

import (
	"bytes"
	stdlog "log"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/loglimit"
)

func TestHandshakesOfOthersDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	lines := loglimit.New(slog.New(slog.NewTextHandler(&out, nil)))
	errs := stdlog.New(httpErrors{lines}, "", 0)
	for range 1000 {
		errs.Print("http: TLS handshake error from 192.0.2.1:1: EOF")
	}
	lines.Close()
	require.LessOrEqual(t, bytes.Count(out.Bytes(), []byte("\n")), loglimit.Most+1)
	require.Contains(t, out.String(), `error="http: TLS handshake error from 192.0.2.1:1: EOF"`)
}
