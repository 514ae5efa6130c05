package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/localcluster"
)

// someFiles is how many files to hash unless ROTA_E2E_FULL is set.
const someFiles = 1500

// The outputs of `rota map -- sha256sum {}` over the source tree of Go are byte for
// byte those of xargs, in order, though the leader is killed twice on the way.
func TestMapGivesWhatXargsGivesThroughTwoLeaderKills(t *testing.T) {
	for name, servers := range map[string]int{"three servers": 3, "five servers": 5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := goFiles(t)
			xargs := exec.Command("xargs", "sha256sum")
			xargs.Stdin = bytes.NewReader(list)
			want, err := xargs.Output()
			require.NoError(t, err)
			total := bytes.Count(want, []byte("\n"))
			require.Equal(t, bytes.Count(list, []byte("\n")), total)

			// With so few slots the job takes longer than two failovers.
			slots := 1
			if full() {
				slots = 3
			}
			c := start(t, localcluster.Config{Servers: servers, Workers: 2, Slots: slots})
			ctx, cancel := context.WithTimeout(context.Background(), 10*verbTimeout)
			defer cancel()
			var out, errs safeBuffer
			cmd := c.command(ctx, "map", "--", "sha256sum", "{}")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(list), &out, &errs
			require.NoError(t, cmd.Start())
			lines := func() int { return strings.Count(out.String(), "\n") }
			for _, share := range []int{10, 50} {
				await(t, "some of the results", func() bool { return lines() >= total*share/100 })
				leader := c.leader()
				require.Less(t, lines(), total, "the job ended before the leader could be killed")
				t.Logf("%s is killed after %d of %d results", leader.Name, lines(), total)
				leader.Kill()
				c.leader(leader)
				c.restart(leader)
			}
			code, err := exitCode(cmd.Wait())
			require.NoError(t, err)
			require.Zero(t, code, errs.String())
			require.True(t, out.String() == string(want), "the outputs are not those of xargs sha256sum")
			c.verify()
		})
	}
}

func full() bool {
	return os.Getenv("ROTA_E2E_FULL") != "" && !testing.Short()
}

// goFiles is what `find "$(go env GOROOT)/src" -type f -name '*.go'` prints.
func goFiles(t *testing.T) []byte {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	list, err := exec.Command("find", filepath.Join(strings.TrimSpace(string(root)), "src"), "-type", "f", "-name", "*.go").Output()
	require.NoError(t, err)
	files := bytes.SplitAfter(list, []byte("\n"))
	require.Greater(t, len(files), someFiles)
	if full() {
		return list
	}
	return bytes.Join(files[:someFiles], nil)
}
