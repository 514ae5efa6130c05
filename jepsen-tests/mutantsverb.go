package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/rota-scheduler/rota/jepsen-tests/checker"
	"github.com/rota-scheduler/rota/jepsen-tests/mutants"
	"github.com/rota-scheduler/rota/jepsen-tests/suite"
)

// mutantsVerb runs broken builds: valid is when each was caught. --test-count is how many
// seeds each gets before it counts as one that escaped.
func mutantsVerb(ctx context.Context, args []string, out io.Writer) (checker.Verdict, error) {
	var f testFlags
	s := f.set("mutants")
	only := s.String("only", "", "the name of one mutant")
	root := s.String("root", "..", "the folder of the product's source")
	if err := s.Parse(args); err != nil {
		return "", errors.Join(err, errUsage)
	}
	if err := f.parseLists(); err != nil {
		return "", err
	}
	can := suite.Probe(f.source)
	verdict, tried := checker.Valid, 0
	for _, m := range mutants.All() {
		if *only != "" && m.Name != *only {
			continue
		}
		tried++
		if f.check([]string{m.Workload}, []string{m.Nemesis}, can) != nil {
			fmt.Fprintf(out, "%-22s skipped: this machine cannot do %s\n", m.Name, m.Nemesis)
			continue
		}
		caught, err := f.hunt(ctx, m, *root, can, out)
		if err != nil {
			return "", err
		}
		if !caught {
			verdict = checker.Invalid
		}
	}
	if tried == 0 {
		return "", fmt.Errorf("there is no mutant %q: %w", *only, errUsage)
	}
	return verdict, nil
}

// hunt runs a mutant until its check finds it.
func (f *testFlags) hunt(ctx context.Context, m mutants.Mutant, root string, can suite.Abilities, out io.Writer) (bool, error) {
	dir := filepath.Join(f.store, "mutants", m.Name)
	binary, err := m.Build(ctx, root, dir)
	if err != nil {
		return false, err
	}
	g := *f
	g.binary, g.store = binary, dir
	for i := range uint64(f.count) {
		seed := max(1, f.seed) + i
		rep, row, err := g.judged(ctx, plan{m.Workload, m.Nemesis, f.logStores[0], f.nodeCounts[0], seed}, can)
		if err != nil {
			return false, err
		}
		at := slices.IndexFunc(rep.Results, func(r checker.Result) bool { return r.Name == m.Check })
		if r := rep.Results[at]; r.Verdict == checker.Invalid {
			fmt.Fprintf(out, "%-22s caught by %s with seed %d: %s\n", m.Name, m.Check, seed, r.Problems[0])
			return true, nil
		}
		fmt.Fprintf(out, "%-22s not caught by %s with seed %d (%s, %s)\n", m.Name, m.Check, seed, rep.Verdict, row.Dir)
	}
	fmt.Fprintf(out, "%-22s ESCAPED: %s\n", m.Name, m.About)
	return false, nil
}
