package e2e

import (
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/localcluster"
)

// A worker with --pprof serves its profiles, and logs on which port.
func TestAWorkerServesItsProfiles(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 1, Workers: 1, WorkerFlags: []string{"--pprof", "127.0.0.1:0"}})
	log, err := os.ReadFile(c.Workers[0].LogFile)
	require.NoError(t, err)
	at := regexp.MustCompile(`profiles=(\S+)`).FindSubmatch(log)
	require.NotNil(t, at, "%s", log)
	resp, err := http.Get("http://" + string(at[1]) + "/debug/pprof/goroutine?debug=1")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	require.Contains(t, string(body), "serveSlot")
}
