package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/suite"
)

// plan is one test of a series.
type plan struct {
	workload, nemesis, logStore string
	nodes                       int
	seed                        uint64
}

// plans is the tests of one round, with one seed: every fitting workload under every fault, or, if they are spread,
// every fault once, with one workload after the other. The next seed begins with the next workload, so that as many
// seeds as there are workloads bring every one of them under every fault that it fits. The log stores take turns
// within a round, and from one seed and one size to the next.
func (f *testFlags) plans(workloads, faults []string, seed uint64, spread bool) []plan {
	var out []plan
	for size, nodes := range f.nodeCounts {
		turn := seed + uint64(size)
		for _, kind := range faults {
			fitting := suite.Fitting(workloads, kind)
			if spread && len(fitting) > 0 {
				fitting = []string{fitting[(seed-1+uint64(len(out)))%uint64(len(fitting))]}
			}
			for _, work := range fitting {
				out = append(out, plan{work, kind, f.logStores[turn%uint64(len(f.logStores))], nodes, seed})
				turn++
			}
		}
	}
	return out
}

// config is the test of a plan.
func (f *testFlags) config(p plan, can suite.Abilities) (suite.Config, error) {
	binary, err := filepath.Abs(f.binary)
	if err != nil {
		return suite.Config{}, err
	}
	clients, err := f.clients(p.nodes)
	if err != nil {
		return suite.Config{}, err
	}
	name := fmt.Sprintf("%s-%s-%s-%dn-seed%d", time.Now().Format("20060102-150405.000"), p.workload, strings.NewReplacer(",", "+", ":", "-").Replace(p.nemesis), p.nodes, p.seed)
	dir, err := filepath.Abs(filepath.Join(f.store, name))
	// Nobody could follow the phases of several tests at once.
	progress := io.Writer(os.Stderr)
	if f.parallel > 1 {
		progress = io.Discard
	}
	return suite.Config{
		Binary: binary, Source: f.source, Builds: filepath.Join(f.store, buildsDir), Dir: dir, Servers: p.nodes, Workers: f.workers, Slots: runtime.NumCPU(),
		Workload: p.workload, Nemesis: p.nemesis, Interval: f.interval, Quiet: 2 * time.Second, Faults: f.timeLimit, Drain: time.Minute, Recovery: f.recovery,
		Rate: f.rate, Concurrency: clients, Seed: p.seed, ServerFlags: append([]string{"--log-store", p.logStore}, strings.Fields(f.serverFlags)...),
		Can: can, Progress: progress,
	}, err
}

// command runs the test of a plan again.
func (f *testFlags) command(p plan) string {
	c := fmt.Sprintf("go run . test --workload %s --nemesis %s --seed %d --nodes %d --log-store %s --workers %d --concurrency %s --rate %g --time-limit %v --nemesis-interval %v",
		p.workload, p.nemesis, p.seed, p.nodes, p.logStore, f.workers, f.concurrency, f.rate, f.timeLimit, f.interval)
	var defaults testFlags
	defaults.set("")
	for _, other := range []struct{ name, value, byDefault string }{
		{"binary", f.binary, defaults.binary},
		{"source", f.source, defaults.source},
		{"recovery", f.recovery.String(), defaults.recovery.String()},
		{"server-flags", f.serverFlags, defaults.serverFlags},
	} {
		if other.value != other.byDefault {
			c += fmt.Sprintf(" --%s %q", other.name, other.value)
		}
	}
	return c
}
