package requestid_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/requestid"
)

func TestLinesHaveTheRequestOfTheirContext(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(requestid.Handler(slog.NewTextHandler(&out, nil))).With("node", "n1")
	ctx := requestid.With(t.Context(), "ab-12")
	log.InfoContext(ctx, "one")
	log.InfoContext(requestid.WithJob(ctx, 42), "two")
	log.Info("three")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Regexp(t, `msg=one node=n1 request_id=ab-12$`, lines[0])
	require.Regexp(t, `msg=two node=n1 request_id=ab-12 job=42$`, lines[1])
	require.Regexp(t, `msg=three node=n1$`, lines[2])
	require.Equal(t, "ab-12", requestid.From(ctx))
	require.Empty(t, requestid.From(context.Background()))
}

// An id of a stranger must not make lines of its own, nor long ones.
func TestIdsAreShortAndPlain(t *testing.T) {
	t.Parallel()
	require.True(t, requestid.Valid(requestid.New()))
	require.NotEqual(t, requestid.New(), requestid.New())
	require.True(t, requestid.Valid("6ba7b810-9dad-11d1-80b4-00c04fd430c8"))
	for _, id := range []string{"", "a b", "a\nlevel=ERROR", "é", strings.Repeat("a", 65), `"`} {
		require.False(t, requestid.Valid(id), "%q", id)
	}
}

func TestSecretsAreHidden(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{ReplaceAttr: requestid.Hide}))
	log.Info("m", "Authorization", "Bearer x-secret", "payload", []byte("x-secret"), "env", map[string]string{"A": "x-secret"}, "worker", "w1")
	require.NotContains(t, out.String(), "x-secret")
	require.Contains(t, out.String(), `"worker":"w1"`)
	require.Contains(t, out.String(), `"payload":"(hidden)"`)
}
