package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/localcluster"
)

// Index 0 of a server that does not answer would say that it has lost everything. And the reason
// why it does not answer is shown whole, for the table is all that there is.
func TestAServerThatDoesNotAnswerIsShownWithoutAnIndex(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3})
	lost := c.followers()[0]
	row := func(table string) []string {
		for line := range strings.Lines(table) {
			if f := strings.Fields(line); len(f) > 0 && f[0] == lost.Name {
				return f
			}
		}
		return nil
	}
	await(t, "its addresses", func() bool {
		f := row(c.status())
		return len(f) > 3 && f[3] == lost.Addr
	})
	lost.Kill()
	var status []string
	await(t, "the loss", func() bool {
		status = row(c.status())
		return len(status) > 1 && status[1] == "unreachable"
	})
	require.Len(t, status, 9)
	require.Equal(t, "-", status[6], "APPLIED of %v", status)

	var verify output
	await(t, "an answer of the others", func() bool {
		verify = c.rota("cluster", "verify")
		return verify.code == 1
	})
	digest := row(verify.stdout)
	require.Greater(t, len(digest), 3)
	require.Equal(t, "-", digest[1], "INDEX of %v", digest)
	require.NotContains(t, verify.stdout, "...")
}
