package cluster

import (
	"log/slog"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	seedVariable  = "ROTA_SIM_SEED"
	seedsVariable = "ROTA_SIM_SEEDS"
	logVariable   = "ROTA_SIM_LOG"
	// enoughSeeds is how many seeds must see everything interesting happen.
	enoughSeeds = 5
)

// TestClustersKeepTheirPromises simulates clusters under trouble, one seed after the other. ROTA_SIM_SEED runs one
// seed, ROTA_SIM_SEEDS that many; with ROTA_SIM_LOG=1 the servers log.
func TestClustersKeepTheirPromises(t *testing.T) {
	t.Parallel()
	first, n := uint64(1), defaultSeeds
	if s := os.Getenv(seedsVariable); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	if s := os.Getenv(seedVariable); s != "" {
		var err error
		first, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		n = 1
	}
	var mu sync.Mutex
	var total Counts
	t.Run("seeds", func(t *testing.T) {
		for seed := first; seed < first+uint64(n); seed++ {
			t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
				t.Parallel()
				counts := simulate(t, seed)
				mu.Lock()
				defer mu.Unlock()
				total.Add(counts)
			})
		}
	})
	t.Logf("%d seeds: %+v", n, total)
	if t.Failed() || n < enoughSeeds {
		return
	}
	// A run in which nothing happens proves nothing.
	require.Greater(t, total.Submits, 20*n, "acknowledged submits")
	require.Greater(t, total.LeaderTerms, 5*n, "changes of the leader")
	require.Greater(t, total.Superseded, n, "refused reports")
	require.Greater(t, total.Already, n, "reports sent twice")
	require.Greater(t, total.Repeats, n, "submits sent twice")
	require.Greater(t, total.Unknown, n, "lost answers")
	require.Greater(t, total.Digests, 10*n, "digests compared")
	require.Greater(t, total.Reads+total.FollowerReads, 20*n, "linearizable reads")
	require.Greater(t, total.Crashes, n, "crashes")
	if upgrades() {
		require.Greater(t, total.Replaced, 2*n, "servers that were replaced by another build")
		require.Equal(t, n, total.Rises, "rises of the version of the log")
	}
	if n >= defaultSeeds && chaosTime > time.Minute {
		require.NotZero(t, total.Wipes, "servers that lost their disks") // there are few of them
	}
}

func simulate(t *testing.T, seed uint64) (counts Counts) {
	dir := memoryDir(t)
	began := time.Now()
	var problems []string
	synctest.Test(t, func(t *testing.T) {
		o := Options{Seed: seed, Dir: dir, Servers: 3, Clients: 3, Workers: 4, Chaos: chaosTime, Drain: 10 * time.Minute}
		if seed%5 == 0 {
			o.Servers = 5
		}
		if os.Getenv(logVariable) != "" {
			o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
		counts, problems = Simulate(o)
	})
	t.Logf("%v of virtual time in %v", counts.VirtualTime.Round(time.Second), time.Since(began).Round(time.Millisecond))
	for _, p := range problems {
		t.Error(p)
	}
	if t.Failed() {
		t.Errorf("run it again: %s=%d go test ./internal/sim/cluster -run Promises -count 10", seedVariable, seed)
	}
	return counts
}

// memoryDir is a temporary folder, in memory if that is possible: simulated servers
// flush often, and what they wait for then is not simulated.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "rota-sim-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}
