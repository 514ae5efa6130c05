package deterministic

import (
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	seedVariable = "ROTA_DETERMINISTIC_SEED"
	timeVariable = "ROTA_DETERMINISTIC_TIME"
	// shortSeeds is how many seeds a short test tries.
	shortSeeds = 20
	// enoughSeeds is the number of seeds from which on everything interesting has to happen. Some of it happens once
	// in twenty seeds.
	enoughSeeds = 200
)

// regressions are seeds that once failed, or that were the first to reach something that is easily lost. They are
// always run.
var regressions = []struct {
	seed    uint64
	stretch int
	why     string
}{}

// TestSeedsKeepThePromises simulates seed after seed. ROTA_DETERMINISTIC_SEED runs one seed and prints its
// history; ROTA_DETERMINISTIC_TIME tries new seeds for so long, and makes their runs longer.
func TestSeedsKeepThePromises(t *testing.T) {
	t.Parallel()
	if s := os.Getenv(seedVariable); s != "" {
		o := parseSeed(t, s)
		o.Trace = func(line string) { t.Log(line) }
		report(t, o, simulate(t, o))
		return
	}
	if s := os.Getenv(timeVariable); s != "" {
		d, err := time.ParseDuration(s)
		require.NoError(t, err)
		seedsFor(t, d)
		return
	}
	seeds := defaultSeeds
	if testing.Short() {
		seeds = shortSeeds
	}
	var mu sync.Mutex
	var total Result
	reached := map[string]int{}
	t.Run("seeds", func(t *testing.T) {
		const parts = 4 // in parallel, if there are processors
		for part := range parts {
			t.Run(strconv.Itoa(part), func(t *testing.T) {
				t.Parallel()
				for seed := part + 1; seed <= seeds && !t.Failed(); seed += parts {
					o := Options{Seed: uint64(seed)}
					r := simulate(t, o)
					report(t, o, r)
					mu.Lock()
					total.add(r.Counts)
					for path, n := range r.Paths {
						reached[path] += n
					}
					mu.Unlock()
				}
			})
		}
	})
	t.Logf("%d seeds: %+v", seeds, total.Counts)
	for _, path := range slices.Sorted(maps.Keys(reached)) {
		t.Logf("%7d %s", reached[path], path)
	}
	if !t.Failed() && seeds >= enoughSeeds {
		requireEnough(t, seeds, total.Counts, reached)
	}
}

// mustReach is what the seeds of one test run have to reach.
var mustReach = []string{
	"retry", "retry granted", "failed", "returned", "stopping to cancelled by a report", "stopping to cancelled by the end of a session",
	"requeued by the end of a session", "task kept over a new session", "task cancelled by itself", "verdict already",
	"verdict superseded", "verdict unknown", "range cancelled", "append of nothing", "append repeated", "granted with the submit", "key conflict", "key repeated",
	"abandoned", "expired", "job collected", "close repeated after the end", "worker lost too often", "lost", "given back by the end of a session",
	"overdue to cancelled", "overdue to failed", "overdue to scheduled", "overdue and not started", "version raised", "entry from before the rise",
}

// requireEnough fails if too little happened: such runs prove nothing.
func requireEnough(t *testing.T, n int, c Counts, reached map[string]int) {
	for _, path := range mustReach {
		require.NotZero(t, reached[path], "never reached: %s", path)
	}
	require.Greater(t, c.Grants, 20*n, "grants")
	require.Greater(t, c.Recorded, 20*n, "recorded reports")
	require.Greater(t, c.Already, n, "reports sent twice")
	require.Greater(t, c.Superseded, n, "refused reports")
	require.Greater(t, c.Submits, 5*n, "acknowledged submits")
	require.Greater(t, c.Repeats, n, "submits sent twice")
	require.Greater(t, c.Cancels, n, "cancels")
	require.Greater(t, c.Appends, n, "appends")
	require.Greater(t, c.Terms, n, "terms")
	require.Greater(t, c.Zombies, n/3, "leaders that do not know that they are deposed")
	require.Greater(t, c.Late, n, "entries of deposed leaders")
	require.Greater(t, c.Closed, n/3, "leases that ended")
	require.Greater(t, c.Deaths, n, "workers that died")
	require.Greater(t, c.Pauses, n/2, "workers that were paused")
	require.Greater(t, c.Crashes, n, "servers killed")
	require.Greater(t, c.Installs, n/10, "states installed from another server")
	require.Greater(t, c.Collected, 5*n, "jobs forgotten")
	require.Greater(t, c.Results, 50*n, "results read")
	require.Greater(t, c.Overdue, n/4, "tasks that were taken off workers which were silent about them")
	require.NotZero(t, c.Shunned, "workers that were silent about exclusive tasks")
	require.Greater(t, c.Passed, n, "plans in which a queue waits for its turn")
}

// TestRegressions runs what once failed.
func TestRegressions(t *testing.T) {
	t.Parallel()
	for _, r := range regressions {
		o := Options{Seed: r.seed, Stretch: r.stretch}
		report(t, o, simulate(t, o))
		require.False(t, t.Failed(), r.why)
	}
}

// TestTheSameSeedIsTheSameHistory: to the byte, or a failing seed would be worth nothing.
func TestTheSameSeedIsTheSameHistory(t *testing.T) {
	t.Parallel()
	// 65 once had a timer that was due with an event, 1004 a machine that depended on the order of a map.
	for i, seed := range []uint64{65, 1000, 1001, 1002, 1003, 1004, 1005} {
		o := Options{Seed: seed}
		first, second := simulate(t, o), simulate(t, o)
		require.Equal(t, first, second, "seed %d", o.Seed)
		other := simulate(t, Options{Seed: 5000 + uint64(i)})
		require.NotEqual(t, first.Hash, other.Hash)
	}
}

// seedsFor tries new seeds for so long.
func seedsFor(t *testing.T, d time.Duration) {
	first := rand.Uint64N(1 << 40)
	t.Logf("from seed %d on", first)
	var total Result
	n := uint64(0)
	for began := time.Now(); time.Since(began) < d && !t.Failed(); n++ {
		o := Options{Seed: first + n, Stretch: int(n % 4)}
		r := simulate(t, o)
		report(t, o, r)
		total.add(r.Counts)
	}
	t.Logf("%d seeds: %+v", n, total.Counts)
}

// parseSeed takes SEED, or SEEDxSTRETCH.
func parseSeed(t *testing.T, s string) (o Options) {
	seed, stretch, stretched := strings.Cut(s, "x")
	var err error
	o.Seed, err = strconv.ParseUint(seed, 10, 64)
	require.NoError(t, err)
	if stretched {
		o.Stretch, err = strconv.Atoi(stretch)
		require.NoError(t, err)
	}
	return o
}

func simulate(t *testing.T, o Options) (r Result) {
	synctest.Test(t, func(*testing.T) { r = Run(o) })
	return r
}

// report fails the test if a run has problems, and says how to repeat it.
func report(t *testing.T, o Options, r Result) {
	if len(r.Problems) == 0 {
		return
	}
	name := strconv.FormatUint(o.Seed, 10)
	if o.Stretch > 0 {
		name += "x" + strconv.Itoa(o.Stretch)
	}
	t.Logf("the end of the history of seed %s:\n%s", name, strings.Join(r.Last, "\n"))
	for _, p := range r.Problems {
		t.Error(p)
	}
	t.Errorf("seed %s, step %d; run it again: %s=%s go test ./internal/sim/deterministic -run TestSeedsKeepThePromises -v", name, r.Steps, seedVariable, name)
}

// add adds up counts.
func (c *Counts) add(o Counts) {
	for i, n := range o.fields() {
		*c.fields()[i] += *n
	}
}

func (c *Counts) fields() []*int {
	return []*int{
		&c.Steps, &c.Entries, &c.Terms, &c.Crashes, &c.Installs, &c.Zombies, &c.Submits, &c.Repeats, &c.Conflicts, &c.Appends, &c.Cancels,
		&c.Grants, &c.Recorded, &c.Already, &c.Superseded, &c.Late, &c.Closed, &c.Deaths, &c.Pauses, &c.Collected, &c.Results, &c.Idle, &c.Passed,
		&c.Overdue, &c.Shunned, &c.Absolved,
	}
}
