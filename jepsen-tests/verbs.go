package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/checker"
	"github.com/rota-scheduler/rota/jepsen-tests/nemesis"
	"github.com/rota-scheduler/rota/jepsen-tests/suite"
	"github.com/rota-scheduler/rota/jepsen-tests/workload"
)

// commandFile has the command that runs a test again.
const commandFile = "command"

func testVerb(ctx context.Context, args []string, out io.Writer) (checker.Verdict, error) {
	var f testFlags
	if err := f.parse(f.set("test"), args); err != nil {
		return "", err
	}
	if len(f.nodeCounts) > 1 || len(f.logStores) > 1 {
		return "", fmt.Errorf("test runs one kind of cluster: test-all runs several: %w", errUsage)
	}
	can := suite.Probe(f.source)
	if err := f.check([]string{f.workload}, []string{f.nemesis}, can); err != nil {
		return "", err
	}
	s := series{flags: &f, can: can, out: out, began: time.Now()}
	if err := s.run(ctx, f.count, 0, func(seed uint64) []plan { return f.plans([]string{f.workload}, []string{f.nemesis}, seed, false) }); err != nil {
		return "", err
	}
	return s.worst(), nil
}

func testAllVerb(ctx context.Context, args []string, out io.Writer) (checker.Verdict, error) {
	var f testFlags
	set := f.set("test-all")
	spread := set.Bool("spread", false, "each fault once, with one workload after the other, instead of every workload under every fault")
	summary := set.String("summary", "", "file for the summary, as Markdown")
	lasting := set.Duration("for", 0, "go on with one seed after the other for so long, instead of --test-count")
	// Without these, everything.
	for _, name := range []string{"workload", "nemesis"} {
		set.Lookup(name).DefValue = "all"
	}
	if err := f.parse(set, args); err != nil {
		return "", err
	}
	can := suite.Probe(f.source)
	workloads, faults := workload.Names(), append(nemesis.Names(), nemesis.All)
	set.Visit(func(g *flag.Flag) {
		switch g.Name {
		case "workload":
			workloads = strings.Split(f.workload, ",")
		case "nemesis":
			faults = strings.Split(f.nemesis, ",")
		}
	})
	for _, kind := range can.Skipped() {
		if slices.Contains(faults, kind) {
			fmt.Fprintln(out, "skipped, this machine cannot do it:", kind)
		}
	}
	faults = slices.DeleteFunc(faults, func(kind string) bool { return slices.Contains(can.Skipped(), kind) })
	if err := f.check(workloads, faults, can); err != nil {
		return "", err
	}
	s := series{flags: &f, can: can, out: out, began: time.Now()}
	err := s.run(ctx, f.count, *lasting, func(seed uint64) []plan { return f.plans(workloads, faults, seed, *spread) })
	if err = errors.Join(err, s.sum(*summary)); err != nil {
		return "", err
	}
	return s.worst(), nil
}

// series is tests one after the other, or several at once.
type series struct {
	flags *testFlags
	can   suite.Abilities
	out   io.Writer
	began time.Time

	mu   sync.Mutex
	rows []suite.Row
}

// run runs the tests of so many seeds, and of more while lasting is not over, and prints a line for each test as it
// ends. An error of one test ends all.
func (s *series) run(ctx context.Context, seeds int, lasting time.Duration, plans func(seed uint64) []plan) error {
	fmt.Fprintf(s.out, "%-13s %-23s %s %-7s %7s %-8s %6s %5s %5s %7s %7s\n", "WORKLOAD", "NEMESIS", "N", "LOG", "SEED", "VERDICT", "ACKS", "INFO", "FAIL", "LEADERS", "FAULTS")
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	next := make(chan plan)
	var running sync.WaitGroup
	for range s.flags.parallel {
		running.Go(func() {
			for p := range next {
				if ctx.Err() != nil {
					continue
				}
				if err := s.one(ctx, p); err != nil {
					stop(err)
				}
			}
		})
	}
	for i := 0; ctx.Err() == nil && (i < seeds || time.Since(s.began) < lasting); i++ {
		for _, p := range plans(s.flags.seed + uint64(i)) {
			next <- p
		}
	}
	close(next)
	running.Wait()
	// In the order in which they began: folders are named by that.
	slices.SortStableFunc(s.rows, func(a, b suite.Row) int { return cmp.Compare(a.Dir, b.Dir) })
	return context.Cause(ctx)
}

func (s *series) one(ctx context.Context, p plan) error {
	rep, row, err := s.flags.judged(ctx, p, s.can)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = append(s.rows, row)
	c := rep.Counts
	fmt.Fprintf(s.out, "%-13s %-23s %d %-7s %7d %-8s %6d %5d %5d %7d %7s  %s\n", p.workload, p.nemesis, p.nodes, p.logStore, p.seed, rep.Verdict, c.Acks, c.Infos, c.Fails,
		c.Leaders, fmt.Sprintf("%d/%d", c.Effective, c.Faults), filepath.Join(row.Dir, "report.html"))
	tell(s.out, rep)
	return nil
}

// worst is the verdict of all tests together.
func (s *series) worst() checker.Verdict {
	worst := checker.Valid
	for i := range s.rows {
		if v := s.rows[i].Verdict; v == checker.Invalid || v == checker.Unknown && worst == checker.Valid {
			worst = v
		}
	}
	if late, allowed := checker.Late(suite.Recoveries(s.rows)); late > allowed {
		return checker.Invalid
	}
	return worst
}

// sum prints what all came to, and writes it into a file if one is named.
func (s *series) sum(file string) error {
	took := time.Since(s.began)
	fmt.Fprintln(s.out)
	err := suite.WriteTable(s.out, s.rows, took)
	if file == "" || err != nil {
		return err
	}
	to, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("--summary: %w", err)
	}
	return errors.Join(suite.WriteMarkdown(to, s.rows, s.flags.version(), took), to.Close())
}

// version says which rota is tested, as it says itself.
func (f *testFlags) version() string {
	out, err := exec.Command(f.binary, "version").Output()
	if err != nil {
		return f.binary
	}
	return strings.TrimSpace(string(out))
}

// judged runs one test and returns what the checkers say.
func (f *testFlags) judged(ctx context.Context, p plan, can suite.Abilities) (rep checker.Report, row suite.Row, err error) {
	cfg, err := f.config(p, can)
	if err != nil {
		return rep, row, err
	}
	ops, err := suite.Run(ctx, cfg)
	if err != nil {
		return rep, row, fmt.Errorf("%w (the run is in %s)", err, cfg.Dir)
	}
	command := f.command(p)
	if err := os.WriteFile(filepath.Join(cfg.Dir, commandFile), []byte(command+"\n"), 0o600); err != nil {
		return rep, row, err
	}
	if rep, err = suite.Judge(cfg.Dir, ops, command); err != nil {
		return rep, row, err
	}
	if rep.Verdict == checker.Valid && !f.keep {
		err = suite.DropData(cfg.Dir)
	}
	row, failed := suite.Summarize(ops, rep)
	row.Workload, row.Nemesis, row.LogStore, row.Servers, row.Seed, row.Dir, row.Command = p.workload, p.nemesis, p.logStore, p.nodes, p.seed, cfg.Dir, command
	return rep, row, errors.Join(err, failed)
}

// tell says what is not valid.
func tell(out io.Writer, rep checker.Report) {
	for _, r := range rep.Results {
		if r.Verdict == checker.Valid || r.Verdict == checker.Idle {
			continue
		}
		fmt.Fprintf(out, "  %s %s: %s %s\n", r.Name, r.About, r.Verdict, r.Note)
		for _, p := range r.Problems {
			fmt.Fprintf(out, "    %s\n", p)
		}
	}
}

func analyzeVerb(_ context.Context, args []string, out io.Writer) (checker.Verdict, error) {
	if len(args) != 1 {
		return "", fmt.Errorf("analyze needs the folder of a run: %w", errUsage)
	}
	dir := args[0]
	command, err := os.ReadFile(filepath.Join(dir, commandFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	rep, err := suite.Analyze(dir, strings.TrimSpace(string(command)))
	if err != nil {
		return "", err
	}
	for _, r := range rep.Results {
		fmt.Fprintf(out, "%-8s %-8s %7d  %s. %s\n", r.Name, r.Verdict, r.Compared, r.About, r.Note)
	}
	tell(out, rep)
	fmt.Fprintln(out, rep.Verdict)
	return rep.Verdict, nil
}

func doctorVerb(_ context.Context, args []string, out io.Writer) (checker.Verdict, error) {
	if len(args) > 0 {
		return "", fmt.Errorf("doctor takes no arguments: %w", errUsage)
	}
	suite.Probe("..").Doctor(out)
	return checker.Valid, nil
}
