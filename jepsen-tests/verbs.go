package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
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
	if err := f.parse("test", args); err != nil {
		return "", err
	}
	can := suite.Probe()
	if err := f.check([]string{f.workload}, []string{f.nemesis}, can); err != nil {
		return "", err
	}
	return f.series(ctx, []string{f.workload}, []string{f.nemesis}, can, out)
}

func testAllVerb(ctx context.Context, args []string, out io.Writer) (checker.Verdict, error) {
	var f testFlags
	s := f.set("test-all")
	// Without these, everything.
	s.VisitAll(func(g *flag.Flag) {
		if g.Name == "workload" || g.Name == "nemesis" {
			g.DefValue = "all"
		}
	})
	given := map[string]bool{}
	if err := s.Parse(args); err != nil {
		return "", errors.Join(err, errUsage)
	}
	s.Visit(func(g *flag.Flag) { given[g.Name] = true })
	if err := f.parse("test-all", args); err != nil {
		return "", err
	}
	can := suite.Probe()
	workloads, faults := workload.Names(), append(nemesis.Names(), nemesis.All)
	if given["workload"] {
		workloads = strings.Split(f.workload, ",")
	}
	if given["nemesis"] {
		faults = strings.Split(f.nemesis, ",")
	} else {
		faults = without(faults, can.Skipped())
		for _, kind := range can.Skipped() {
			fmt.Fprintln(out, "skipped, this machine cannot do it:", kind)
		}
	}
	if err := f.check(workloads, faults, can); err != nil {
		return "", err
	}
	return f.series(ctx, workloads, faults, can, out)
}

func without(names, drop []string) []string {
	dropped := map[string]bool{}
	for _, d := range drop {
		dropped[d] = true
	}
	var out []string
	for _, n := range names {
		if !dropped[n] {
			out = append(out, n)
		}
	}
	return out
}

// series runs tests one after the other, and sums up.
func (f *testFlags) series(ctx context.Context, workloads, faults []string, can suite.Abilities, out io.Writer) (checker.Verdict, error) {
	worst := checker.Valid
	fmt.Fprintf(out, "%-13s %-20s %7s %-8s %6s %5s %5s %7s %7s  %s\n", "WORKLOAD", "NEMESIS", "SEED", "VERDICT", "ACKS", "INFO", "FAIL", "LEADERS", "FAULTS", "")
	for i := range f.count {
		for _, work := range workloads {
			for _, kind := range faults {
				verdict, err := f.one(ctx, work, kind, f.seed+uint64(i), can, out)
				if err != nil {
					return "", err
				}
				if verdict == checker.Invalid || verdict == checker.Unknown && worst == checker.Valid {
					worst = verdict
				}
			}
		}
	}
	return worst, nil
}

// one runs one test and prints its line.
func (f *testFlags) one(ctx context.Context, work, faults string, seed uint64, can suite.Abilities, out io.Writer) (checker.Verdict, error) {
	rep, dir, err := f.judged(ctx, work, faults, seed, can)
	if err != nil {
		return "", err
	}
	c := rep.Counts
	fmt.Fprintf(out, "%-13s %-20s %7d %-8s %6d %5d %5d %7d %7s  %s\n", work, faults, seed, rep.Verdict, c.Acks, c.Infos, c.Fails, c.Leaders,
		fmt.Sprintf("%d/%d", c.Effective, c.Faults), filepath.Join(dir, "report.html"))
	tell(out, rep)
	return rep.Verdict, nil
}

// judged runs one test and returns what the checkers say, and the folder of the run.
func (f *testFlags) judged(ctx context.Context, work, faults string, seed uint64, can suite.Abilities) (rep checker.Report, dir string, err error) {
	cfg, err := f.config(work, faults, seed, can)
	if err != nil {
		return rep, "", err
	}
	ops, err := suite.Run(ctx, cfg)
	if err != nil {
		return rep, cfg.Dir, fmt.Errorf("%w (the run is in %s)", err, cfg.Dir)
	}
	command := f.command(work, faults, seed)
	if err := os.WriteFile(filepath.Join(cfg.Dir, commandFile), []byte(command+"\n"), 0o600); err != nil {
		return rep, cfg.Dir, err
	}
	rep, err = suite.Judge(cfg.Dir, ops, command)
	if err == nil && rep.Verdict == checker.Valid && !f.keep {
		err = suite.DropData(cfg.Dir)
	}
	return rep, cfg.Dir, err
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
	suite.Probe().Doctor(out)
	return checker.Valid, nil
}

func serveVerb(ctx context.Context, args []string, out io.Writer) (checker.Verdict, error) {
	s := flag.NewFlagSet("serve", flag.ContinueOnError)
	store := s.String("store", "store", "folder of all runs")
	addr := s.String("addr", "127.0.0.1:8080", "address to serve on")
	if err := s.Parse(args); err != nil {
		return "", errors.Join(err, errUsage)
	}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(out, "http://%s shows %s until you press ^C\n", l.Addr(), *store)
	server := &http.Server{Handler: http.FileServer(http.Dir(*store)), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return "", err
	}
	return checker.Valid, nil
}
