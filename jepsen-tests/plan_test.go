package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/jepsen-tests/nemesis"
	"github.com/rota-scheduler/rota/jepsen-tests/suite"
	"github.com/rota-scheduler/rota/jepsen-tests/workload"
)

func flagsOf(t *testing.T, args ...string) *testFlags {
	t.Helper()
	var f testFlags
	// Any file will do: nothing is run.
	require.NoError(t, f.parse(f.set("test"), append([]string{"--binary", "plan.go", "--seed", "7"}, args...)))
	return &f
}

func TestEveryFittingWorkloadMeetsEveryFault(t *testing.T) {
	t.Parallel()
	f := flagsOf(t, "--nodes", "3,5", "--log-store", "boltdb,wal")
	plans := f.plans([]string{"queue", "register"}, []string{"kill", "worker-kill"}, 9, false)
	require.Equal(t, []plan{
		{"queue", "kill", "wal", 3, 9}, {"register", "kill", "boltdb", 3, 9}, {"queue", "worker-kill", "wal", 3, 9},
		{"queue", "kill", "boltdb", 5, 9}, {"register", "kill", "wal", 5, 9}, {"queue", "worker-kill", "boltdb", 5, 9},
	}, plans)
}

func TestSpreadOutEachFaultComesOnceAndWorkloadsTakeTurns(t *testing.T) {
	t.Parallel()
	plans := flagsOf(t).plans([]string{"register", "queue", "serial"}, []string{"worker-kill", "kill", "pause", "power"}, 1, true)
	require.Equal(t, []plan{
		{"queue", "worker-kill", "wal", 3, 1}, {"queue", "kill", "wal", 3, 1}, {"serial", "pause", "wal", 3, 1}, {"register", "power", "wal", 3, 1},
	}, plans)
}

func TestAsManySeedsAsWorkloadsSpreadEveryWorkloadOverEveryFault(t *testing.T) {
	t.Parallel()
	workloads, faults := workload.Names(), nemesis.Names()
	f := flagsOf(t)
	f.nodeCounts = []int{3}
	type pair struct{ workload, nemesis string }
	met, want := map[pair]bool{}, map[pair]bool{}
	for seed := range uint64(len(workloads)) {
		for _, p := range f.plans(workloads, faults, 40+seed, true) {
			met[pair{p.workload, p.nemesis}] = true
		}
	}
	for _, p := range f.plans(workloads, faults, 1, false) {
		want[pair{p.workload, p.nemesis}] = true
	}
	require.Equal(t, want, met)
}

func TestTheNextSeedTakesTheOtherLogStore(t *testing.T) {
	t.Parallel()
	f := flagsOf(t, "--log-store", "boltdb,wal")
	for i, first := range f.plans(workload.Names(), nemesis.Names(), 1, true) {
		second := f.plans(workload.Names(), nemesis.Names(), 2, true)[i]
		require.Equal(t, first.nemesis, second.nemesis)
		require.NotEqual(t, first.logStore, second.logStore, first.nemesis)
	}
}

func TestSeveralTestsAtOnceNeedNetworksOfTheirOwn(t *testing.T) {
	t.Parallel()
	f := flagsOf(t, "--parallel", "3")
	require.NoError(t, f.check([]string{"queue"}, []string{"kill"}, suite.Abilities{}))
	err := f.check([]string{"queue"}, []string{"kill"}, suite.Abilities{Network: errors.New("no tun")})
	require.ErrorIs(t, err, errUsage)
	require.ErrorContains(t, err, "no tun")
}

func TestTheCommandOfATestIsTheSameTest(t *testing.T) {
	t.Parallel()
	f := flagsOf(t, "--server-flags", "--election-timeout 500ms", "--rate", "33", "--recovery", "12s")
	p := plan{"queue", "kill,power", "wal", 5, 11}
	require.Equal(t, "go run . test --workload queue --nemesis kill,power --seed 11 --nodes 5 --log-store wal --workers 2 --concurrency 3n --rate 33 --time-limit 30s --nemesis-interval 3s"+
		` --binary "plan.go" --recovery "12s" --server-flags "--election-timeout 500ms"`, f.command(p))
}

func TestTheStoreIsShownWithItsVerdicts(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	for name, files := range map[string]map[string]string{
		"20260101-queue": {"history.jsonl": "", "results.json": `{"verdict":"invalid","counts":{"acks":77}}`, "report.html": "the report"},
		"20260102-queue": {"history.jsonl": ""},
		"builds":         {"rota": ""},
	} {
		require.NoError(t, os.Mkdir(filepath.Join(store, name), 0o700))
		for file, content := range files {
			require.NoError(t, os.WriteFile(filepath.Join(store, name, file), []byte(content), 0o600))
		}
	}
	server := httptest.NewServer(storePages(store))
	defer server.Close()
	get := func(path string) string {
		resp, err := http.Get(server.URL + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(body)
	}
	list := get("/")
	require.Contains(t, list, "<h1>2 runs</h1>")
	require.Regexp(t, `(?s)20260102-queue.*broken off.*20260101-queue.*<td class="invalid">invalid<td class="n">77`, list)
	require.Equal(t, "the report", get("/20260101-queue/report.html"))
}
