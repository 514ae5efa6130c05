package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/rota-scheduler/rota/jepsen-tests/checker"
	"github.com/rota-scheduler/rota/jepsen-tests/mutants"
	"github.com/rota-scheduler/rota/jepsen-tests/suite"
)

// mutantSeeds is how many seeds a mutant gets before it counts as escaped, if --test-count does not say.
const mutantSeeds = 4

// hunter hunts mutants.
type hunter struct {
	testFlags
	root string
	// clean: the whole build must be valid with the seed that has caught the mutant.
	clean bool
	given map[string]bool
	can   suite.Abilities
	out   io.Writer
}

// mutantsVerb runs broken builds: valid is when each was caught, and the whole build was
// valid with the same seed. Flags that are not given are those of each mutant.
func mutantsVerb(ctx context.Context, args []string, out io.Writer) (checker.Verdict, error) {
	h := hunter{given: map[string]bool{}, out: out}
	s := h.set("mutants")
	only := s.String("only", "", "the name of one mutant")
	s.StringVar(&h.root, "root", "..", "the folder of the product's source")
	s.BoolVar(&h.clean, "clean", true, "run the whole build with the seed that caught a mutant: it must be valid")
	if err := s.Parse(args); err != nil {
		return "", errors.Join(err, errUsage)
	}
	if err := h.parseLists(); err != nil {
		return "", err
	}
	s.Visit(func(f *flag.Flag) { h.given[f.Name] = true })
	if h.given["parallel"] {
		return "", fmt.Errorf("mutants run one after the other: %w", errUsage)
	}
	if !h.given["test-count"] {
		h.count = mutantSeeds
	}
	h.can = suite.Probe(h.source)
	verdict, tried := checker.Valid, 0
	for _, m := range mutants.All() {
		if *only != "" && m.Name != *only {
			continue
		}
		tried++
		if m.Test != "" {
			caught, err := h.huntByTest(ctx, m)
			if err != nil {
				return "", err
			}
			if !caught {
				verdict = checker.Invalid
			}
			continue
		}
		if err := h.check([]string{m.Workload}, []string{m.Nemesis}, h.can); err != nil {
			fmt.Fprintf(out, "%-24s skipped: %v\n", m.Name, err)
			continue
		}
		caught, err := h.hunt(ctx, m)
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

// flags is the flags of a mutant.
func (h *hunter) flags(m mutants.Mutant) testFlags {
	f := h.testFlags
	// With an underscore: otherwise the go command would read the changed files as packages.
	f.store = filepath.Join(h.store, "_mutants", m.Name)
	if m.Rate > 0 && !h.given["rate"] {
		f.rate = m.Rate
	}
	if m.TimeLimit > 0 && !h.given["time-limit"] {
		f.timeLimit = m.TimeLimit
	}
	if m.Interval > 0 && !h.given["nemesis-interval"] {
		f.interval = m.Interval
	}
	if m.ServerFlags != "" && !h.given["server-flags"] {
		f.serverFlags = m.ServerFlags
	}
	return f
}

// hunt runs a mutant until its check finds it, and then the whole build.
func (h *hunter) hunt(ctx context.Context, m mutants.Mutant) (caught bool, err error) {
	f := h.flags(m)
	if f.binary, err = m.Build(ctx, h.root, f.store); err != nil {
		return false, err
	}
	for i := range uint64(f.count) {
		seed := max(1, f.seed) + i
		rep, row, err := f.judged(ctx, plan{m.Workload, m.Nemesis, f.logStores[0], f.nodeCounts[0], seed}, h.can)
		if err != nil {
			return false, err
		}
		at := slices.IndexFunc(rep.Results, func(r checker.Result) bool { return r.Name == m.Check })
		if r := rep.Results[at]; r.Verdict == checker.Invalid {
			fmt.Fprintf(h.out, "%-24s caught by %s with seed %d: %s\n", m.Name, m.Check, seed, r.Problems[0])
			return h.standsWhole(ctx, m, f, seed)
		}
		fmt.Fprintf(h.out, "%-24s not caught by %s with seed %d (%s, %s)\n", m.Name, m.Check, seed, rep.Verdict, row.Dir)
	}
	fmt.Fprintf(h.out, "%-24s ESCAPED: %s\n", m.Name, m.About)
	return false, nil
}

// huntByTest runs the test that must find a mutant, with it and without.
func (h *hunter) huntByTest(ctx context.Context, m mutants.Mutant) (caught bool, err error) {
	store := h.flags(m).store
	caught, _, err = m.FindByTest(ctx, h.root, store, false)
	switch {
	case err != nil:
		return false, err
	case !caught:
		fmt.Fprintf(h.out, "%-24s ESCAPED: %s\n", m.Name, m.About)
		return false, nil
	}
	fmt.Fprintf(h.out, "%-24s caught by %s\n", m.Name, m.Test)
	if !h.clean {
		return true, nil
	}
	failed, said, err := m.FindByTest(ctx, h.root, store, true)
	if failed {
		fmt.Fprintf(h.out, "%-24s the whole build fails %s:\n%s\n", m.Name, m.Test, said)
	}
	return err == nil && !failed, err
}

// standsWhole runs the whole build with the seed that caught a mutant. A check that finds
// fault with both has shown nothing.
func (h *hunter) standsWhole(ctx context.Context, m mutants.Mutant, f testFlags, seed uint64) (ok bool, err error) {
	if !h.clean {
		return true, nil
	}
	if f.binary, err = m.BuildWhole(ctx, h.root, f.store); err != nil {
		return false, err
	}
	rep, row, err := f.judged(ctx, plan{m.Workload, m.Nemesis, f.logStores[0], f.nodeCounts[0], seed}, h.can)
	if err != nil || rep.Verdict == checker.Valid {
		return err == nil, err
	}
	fmt.Fprintf(h.out, "%-24s the whole build is %s with seed %d (%s)\n", m.Name, rep.Verdict, seed, row.Dir)
	tell(h.out, rep)
	return false, nil
}
