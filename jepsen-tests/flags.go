package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/nemesis"
	"github.com/rota-scheduler/rota/jepsen-tests/suite"
	"github.com/rota-scheduler/rota/jepsen-tests/workload"
)

// buildsDir is the folder within the store that keeps binaries built for faults.
const buildsDir = "builds"

// testFlags are those of test and test-all.
type testFlags struct {
	binary, workload, nemesis, concurrency, store string
	nodes, logStore                               string
	workers, count, parallel                      int
	interval, timeLimit, recovery                 time.Duration
	rate                                          float64
	seed                                          uint64
	serverFlags, source                           string
	keep                                          bool

	// nodeCounts and logStores are what nodes and logStore say.
	nodeCounts []int
	logStores  []string
}

func (f *testFlags) set(verb string) *flag.FlagSet {
	s := flag.NewFlagSet(verb, flag.ContinueOnError)
	s.StringVar(&f.binary, "binary", filepath.Join("..", "bin", "rota"), "the rota to test; make build makes it")
	s.StringVar(&f.nodes, "nodes", "3", "servers: 1, 3 or 5; several for test-all, such as 3,5")
	s.StringVar(&f.logStore, "log-store", wal, "what the servers keep their logs in: boltdb or wal; with boltdb,wal the tests of test-all take turns")
	s.IntVar(&f.workers, "workers", 2, "workers")
	s.StringVar(&f.workload, "workload", "queue", "one of "+strings.Join(workload.Names(), ", ")+"; several for test-all")
	s.StringVar(&f.nemesis, "nemesis", "kill", "none, all, or some of "+strings.Join(nemesis.Names(), ","))
	s.DurationVar(&f.interval, "nemesis-interval", 3*time.Second, "about how long a fault lasts, and how long it is quiet between two")
	s.DurationVar(&f.timeLimit, "time-limit", 30*time.Second, "how long the nemesis works")
	s.DurationVar(&f.recovery, "recovery", 10*time.Second, "the longest time from a heal to an acknowledged submit")
	s.Float64Var(&f.rate, "rate", 50, "steps a second of all clients together; workloads with long steps divide it")
	s.StringVar(&f.concurrency, "concurrency", "3n", "clients; 3n is three for each server")
	s.IntVar(&f.count, "test-count", 1, "how often, with one seed after the other")
	s.IntVar(&f.parallel, "parallel", 1, "how many tests run at once, each with a cluster and a network of its own")
	s.Uint64Var(&f.seed, "seed", 0, "what all choices come from; 0: a random one")
	s.StringVar(&f.serverFlags, "server-flags", "", "further flags of the servers, with spaces between them")
	s.StringVar(&f.store, "store", "store", "folder of all runs")
	s.StringVar(&f.source, "source", "..", "folder of the product's source, of which faults of the clock build a binary")
	s.BoolVar(&f.keep, "keep", false, "keep the servers' data of valid runs too")
	return s
}

// parse reads the flags and finds mistakes in them.
func (f *testFlags) parse(s *flag.FlagSet, args []string) error {
	if err := s.Parse(args); err != nil {
		return errors.Join(err, errUsage)
	}
	if s.NArg() > 0 {
		return fmt.Errorf("%q is no flag: %w", s.Arg(0), errUsage)
	}
	switch {
	case f.workers < 1 || f.workers > 50, f.count < 1, f.parallel < 1 || f.parallel > 50, f.rate <= 0, f.interval <= 0, f.timeLimit < 0, f.recovery <= 0:
		return fmt.Errorf("a number is out of range: %w", errUsage)
	}
	if err := f.parseLists(); err != nil {
		return err
	}
	if _, err := f.clients(1); err != nil {
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

// The log stores of servers.
const boltdb, wal = "boltdb", "wal"

// parseLists reads the flags that may name several.
func (f *testFlags) parseLists() error {
	for text := range strings.SplitSeq(f.nodes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n != 1 && n != 3 && n != 5 {
			return fmt.Errorf("--nodes %s: use 1, 3 or 5: %w", f.nodes, errUsage)
		}
		f.nodeCounts = append(f.nodeCounts, n)
	}
	f.logStores = strings.Split(f.logStore, ",")
	for _, s := range f.logStores {
		if s != boltdb && s != wal {
			return fmt.Errorf("--log-store %s: use boltdb, wal or boltdb,wal: %w", f.logStore, errUsage)
		}
	}
	return nil
}

// clients is the number of clients of a cluster of so many servers.
func (f *testFlags) clients(nodes int) (int, error) {
	text, perNode := strings.CutSuffix(f.concurrency, "n")
	n, err := strconv.Atoi(text)
	if perNode {
		n *= nodes
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
	if f.parallel > 1 && can.Network != nil {
		return fmt.Errorf("--parallel %d: clusters share ports where they have no networks of their own (%w): %w", f.parallel, can.Network, errUsage)
	}
	return nil
}
