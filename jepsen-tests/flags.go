package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/nemesis"
	"github.com/rota-scheduler/rota/jepsen-tests/suite"
	"github.com/rota-scheduler/rota/jepsen-tests/workload"
)

// testFlags are those of test and test-all.
type testFlags struct {
	binary, workload, nemesis, concurrency, store string
	nodes, workers, count                         int
	interval, timeLimit, recovery                 time.Duration
	rate                                          float64
	seed                                          uint64
	serverFlags                                   string
	keep                                          bool
}

func (f *testFlags) set(verb string) *flag.FlagSet {
	s := flag.NewFlagSet(verb, flag.ContinueOnError)
	s.StringVar(&f.binary, "binary", filepath.Join("..", "bin", "rota"), "the rota to test; make build makes it")
	s.IntVar(&f.nodes, "nodes", 3, "servers: 1, 3 or 5")
	s.IntVar(&f.workers, "workers", 2, "workers")
	s.StringVar(&f.workload, "workload", "queue", "one of "+strings.Join(workload.Names(), ", ")+"; several for test-all")
	s.StringVar(&f.nemesis, "nemesis", "kill", "none, all, or some of "+strings.Join(nemesis.Names(), ","))
	s.DurationVar(&f.interval, "nemesis-interval", 3*time.Second, "about how long a fault lasts, and how long it is quiet between two")
	s.DurationVar(&f.timeLimit, "time-limit", 30*time.Second, "how long the nemesis works")
	s.DurationVar(&f.recovery, "recovery", 10*time.Second, "the longest time from a heal to an acknowledged submit")
	s.Float64Var(&f.rate, "rate", 50, "steps a second of all clients together; workloads with long steps divide it")
	s.StringVar(&f.concurrency, "concurrency", "3n", "clients; 3n is three for each server")
	s.IntVar(&f.count, "test-count", 1, "how often, with one seed after the other")
	s.Uint64Var(&f.seed, "seed", 0, "what all choices come from; 0: a random one")
	s.StringVar(&f.serverFlags, "server-flags", "", "further flags of the servers, with spaces between them")
	s.StringVar(&f.store, "store", "store", "folder of all runs")
	s.BoolVar(&f.keep, "keep", false, "keep the servers' data of valid runs too")
	return s
}

// parse reads the flags and finds mistakes in them.
func (f *testFlags) parse(verb string, args []string) error {
	s := f.set(verb)
	if err := s.Parse(args); err != nil {
		return errors.Join(err, errUsage)
	}
	if s.NArg() > 0 {
		return fmt.Errorf("%q is no flag: %w", s.Arg(0), errUsage)
	}
	switch {
	case f.nodes != 1 && f.nodes != 3 && f.nodes != 5:
		return fmt.Errorf("--nodes %d: use 1, 3 or 5: %w", f.nodes, errUsage)
	case f.workers < 1 || f.workers > 50, f.count < 1, f.rate <= 0, f.interval <= 0, f.timeLimit < 0, f.recovery <= 0:
		return fmt.Errorf("a number is out of range: %w", errUsage)
	}
	if _, err := f.clients(); err != nil {
		return err
	}
	if _, err := os.Stat(f.binary); err != nil {
		return fmt.Errorf("--binary: %w: make build makes it: %w", err, errUsage)
	}
	if f.seed == 0 {
		// Seeds that people can read and type.
		f.seed = 1 + rand.Uint64N(1_000_000)
	}
	return nil
}

// clients is the number of clients.
func (f *testFlags) clients() (int, error) {
	text, perNode := strings.CutSuffix(f.concurrency, "n")
	n, err := strconv.Atoi(text)
	if perNode {
		n *= f.nodes
	}
	if err != nil || n < 1 || n > 1000 {
		return 0, fmt.Errorf("--concurrency %q: use a number, or such as 3n: %w", f.concurrency, errUsage)
	}
	return n, nil
}

// check finds mistakes in the names before anything runs.
func (f *testFlags) check(workloads, faults []string, can suite.Abilities) error {
	for _, w := range workloads {
		if _, err := workload.Get(w); err != nil {
			return errors.Join(err, errUsage)
		}
	}
	for _, n := range faults {
		if _, err := nemesis.Parse(n, can.Meets); err != nil {
			return errors.Join(err, errUsage)
		}
	}
	return nil
}

// config is the test of a workload under a nemesis.
func (f *testFlags) config(work, faults string, seed uint64, can suite.Abilities) (suite.Config, error) {
	binary, err := filepath.Abs(f.binary)
	if err != nil {
		return suite.Config{}, err
	}
	clients, err := f.clients()
	if err != nil {
		return suite.Config{}, err
	}
	name := fmt.Sprintf("%s-%s-%s-seed%d", time.Now().Format("20060102-150405.000"), work, strings.NewReplacer(",", "+", ":", "-").Replace(faults), seed)
	dir, err := filepath.Abs(filepath.Join(f.store, name))
	return suite.Config{
		Binary: binary, Dir: dir, Servers: f.nodes, Workers: f.workers, Slots: runtime.NumCPU(), Workload: work, Nemesis: faults,
		Interval: f.interval, Quiet: 2 * time.Second, Faults: f.timeLimit, Drain: time.Minute, Recovery: f.recovery,
		Rate: f.rate, Concurrency: clients, Seed: seed, ServerFlags: strings.Fields(f.serverFlags), Can: can, Progress: os.Stderr,
	}, err
}

// command runs the same test again.
func (f *testFlags) command(work, faults string, seed uint64) string {
	c := fmt.Sprintf("go run . test --workload %s --nemesis %s --seed %d --nodes %d --workers %d --concurrency %s --rate %g --time-limit %v --nemesis-interval %v",
		work, faults, seed, f.nodes, f.workers, f.concurrency, f.rate, f.timeLimit, f.interval)
	if f.serverFlags != "" {
		c += fmt.Sprintf(" --server-flags %q", f.serverFlags)
	}
	return c
}
