package server

import (
	"bytes"
	stdlog "log"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/loglimit"
	"github.com/rota-scheduler/rota/internal/pki"
	"github.com/rota-scheduler/rota/task"
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

func TestAServerTellsWhenItsCertificateExpires(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewCA("rota.test", pki.CAValidity, time.Now())
	require.NoError(t, err)
	cfg := alone(t)
	cfg.TLS = certificate(t, ca, task.RoleServer)
	s, err := Start(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { ended(t, s.Kill) })
	self, _ := cfg.TLS.Self()
	require.False(t, self.NotAfter.IsZero())
	require.Equal(t, self.NotAfter, s.Node().Self().CertificateEnd)
	plain, err := Start(alone(t))
	require.NoError(t, err)
	t.Cleanup(func() { ended(t, plain.Kill) })
	require.True(t, plain.Node().Self().CertificateEnd.IsZero())
}
