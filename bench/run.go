package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/bench/harness"
	"github.com/rota-scheduler/rota/bench/report"
	"github.com/rota-scheduler/rota/bench/systems"
	"github.com/rota-scheduler/rota/jepsen-tests/disk"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
	"github.com/rota-scheduler/rota/task"
)

const (
	defaultRuns    = 5
	defaultClients = 64
	defaultSlots   = 16
	// overloadClients give the servers more requests to keep than they have room for, in
	// number (32,768) and, with a large payload in one of 20, in bytes (64 MiB).
	overloadClients = 40_000
	defaultFor      = 20 * time.Second
	maxFor          = 10 * time.Minute
	maxDiskSync     = time.Second
	// commandSlots is how many processes a worker runs at once: for work that is all
	// CPU, more of them than CPUs gain nothing.
	commandSlots = 2
	maxTasks     = task.MaxTasks
	maxClients   = 200_000
)

// sizes are how many tasks a run of a workload has, for each system. A peer that takes
// minutes for what others do in a second gets fewer: its throughput does not depend on
// how long it is measured.
var sizes = map[harness.Workload]map[string]int{
	harness.Array:    {"rota": 1_000_000, "nats": 100_000, "river": 100_000, "asynq": 10_000, "python-pool": 200_000, "python-futures": 50_000},
	harness.Distinct: {"rota": 200_000, "nats": 100_000, "river": 100_000, "asynq": 10_000, "python-pool": 200_000, "python-futures": 50_000},
	harness.Single:   {"rota": 500},
	harness.Clients:  {"rota": 20_000, "asynq": 5_000},
	harness.Large:    {"rota": 2_000, "asynq": 500},
	harness.Commands: {"rota": 2_000},
	harness.Failover: {"rota": 20},
	harness.Overload: {},
}

type runFlags struct {
	workloads, peers     []string
	runs, tasks          int
	clients, slots       int
	how, format, rota    string
	logStores, rotaFlags []string
	dir, profiles        string
	timeout, forTime     time.Duration
	diskSync             time.Duration
	cores                int
	sameTasks, keep, tls bool
}

func runCmd() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Measure Rota and its peers in turns",
		Long: "Measures Rota through its real binaries, and its peers, each started and stopped for\n" +
			"each run, in turns: Rota, peer, Rota, peer. Prints medians, ranges and the ratios of\n" +
			"neighbouring runs. Every count and every result is checked.\n\n" +
			"  array     no-op tasks as one array job\n" +
			"  distinct  tasks with 64-byte payloads of their own and 16-byte results\n" +
			"  single    one task at a time, from the submit to its result\n" +
			"  clients   many clients, each of which does so\n" +
			"  large     payloads and results of 64 KiB, beside what the disk can write\n" +
			"  commands  rota map of a command over lines, beside xargs -P\n" +
			"  failover  from the loss of the leader to the next result\n" +
			"  overload  more than the cluster can take, for a while: refusals, memory, results\n\n" +
			"Peers: nats, river, asynq, python, and for commands xargs.",
		Example: "  bench run --workload distinct --peers nats,river\n  bench run --workload array,single --runs 7 -o svg > bench.svg",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("cores") {
				if err := harness.Pin(f.cores); err != nil {
					return err
				}
			}
			return f.run(cmd.Context())
		},
	}
	fs := cmd.Flags()
	fs.StringSliceVar(&f.workloads, "workload", []string{"distinct"}, "workloads to measure, or all")
	fs.StringSliceVar(&f.peers, "peers", []string{"nats", "river", "asynq", "python"}, "peers to measure; none: Rota alone")
	fs.IntVar(&f.runs, "runs", 0, "pairs of runs with each peer; 0: 5, for failover and overload 1")
	fs.IntVar(&f.tasks, "tasks", 0, "tasks of a run, for failover losses of the leader; 0: by workload. Slow peers get fewer")
	fs.BoolVar(&f.sameTasks, "same-tasks", false, "as many tasks for slow peers too")
	fs.IntVar(&f.clients, "clients", 0, "clients of the workloads clients and overload; 0: 64 and 40000")
	fs.DurationVar(&f.forTime, "for", defaultFor, "how long the workload overload submits")
	fs.DurationVar(&f.diskSync, "disk-sync", 0, "let each fsync of Rota's servers take at least so long, on FUSE disks of their own; needs root and /dev/fuse")
	fs.IntVar(&f.cores, "cores", 0, "use so many CPUs only, for all processes together; 0: all")
	fs.IntVar(&f.slots, "slots", 0, "slots of each of the two workers; 0: 16, for commands 2")
	fs.StringVar(&f.how, "how", harness.Kill, "how the leader is lost: kill, pause, or network, which cuts it off and needs root and /dev/net/tun")
	fs.StringVarP(&f.format, "output", "o", "table", "table, json or svg")
	fs.StringVar(&f.rota, "rota", "", "the rota binary; empty: ../bin/rota and the like")
	fs.StringSliceVar(&f.logStores, "log-store", nil, "measure Rota with each of these log stores, such as boltdb,wal; empty: its default")
	fs.BoolVar(&f.tls, "tls", false, "measure Rota with TLS on all connections")
	fs.StringArrayVar(&f.rotaFlags, "rota-flag", nil, "a further flag of Rota's servers; may be repeated")
	fs.StringVar(&f.dir, "dir", "", "folder for the data, on the disk that is to be measured; empty: a temporary one")
	fs.DurationVar(&f.timeout, "timeout", 10*time.Minute, "bound of one run")
	fs.StringVar(&f.profiles, "profiles", "", "folder for CPU profiles of Rota's processes and of the client, by role; they cost some of the speed")
	fs.BoolVar(&f.keep, "keep", false, "keep the folders of the systems, with their logs")
	return cmd
}

func (f *runFlags) run(ctx context.Context) error {
	workloads, err := f.check()
	if err != nil {
		return err
	}
	dir, remove, err := workFolder(f.dir, f.keep)
	if err != nil {
		return err
	}
	broken := false
	defer func() {
		if !broken {
			remove()
		}
	}()
	var reports []*report.Report
	var failures []error
	for _, w := range workloads {
		r, err := f.measure(ctx, w, dir)
		if err != nil {
			broken = errors.Is(err, harness.ErrBroken)
			failures = append(failures, fmt.Errorf("%s: %w", w, err))
		}
		if r == nil {
			break // what was asked for cannot be measured
		}
		if len(r.Systems) > 0 {
			reports = append(reports, r)
		}
		if err := f.print(r); err != nil {
			return errors.Join(append(failures, err)...)
		}
		if broken || ctx.Err() != nil {
			break
		}
	}
	if f.format == "svg" && len(reports) > 0 {
		failures = append(failures, report.SVG(os.Stdout, reports...))
	}
	return errors.Join(failures...)
}

// print prints what was measured of a workload as soon as it is there, because it took long.
func (f *runFlags) print(r *report.Report) error {
	switch f.format {
	case "json":
		return r.JSON(os.Stdout)
	case "table":
		return r.Table(os.Stdout)
	}
	return nil // a chart is of all workloads
}

func (f *runFlags) check() ([]harness.Workload, error) {
	var workloads []harness.Workload
	for _, name := range f.workloads {
		w := harness.Workload(name)
		switch {
		case name == "all":
			workloads = append(workloads, harness.Workloads...)
		case slices.Contains(harness.Workloads, w):
			workloads = append(workloads, w)
		default:
			return nil, fmt.Errorf("unknown --workload %q: use %v or all", name, harness.Workloads)
		}
	}
	switch {
	case !slices.Contains([]string{"table", "json", "svg"}, f.format):
		return nil, fmt.Errorf("unknown --output %q: use table, json or svg", f.format)
	case !slices.Contains([]string{harness.Kill, harness.Pause, harness.Network}, f.how):
		return nil, fmt.Errorf("unknown --how %q: use %s, %s or %s", f.how, harness.Kill, harness.Pause, harness.Network)
	case f.runs < 0 || f.runs > 1000:
		return nil, fmt.Errorf("--runs %d is out of range: use 1 to 1000", f.runs)
	case f.tasks < 0 || f.tasks > maxTasks:
		return nil, fmt.Errorf("--tasks %d is out of range: use 1 to %d", f.tasks, maxTasks)
	case f.clients < 0 || f.clients > maxClients:
		return nil, fmt.Errorf("--clients %d is out of range: use 1 to %d", f.clients, maxClients)
	case f.forTime < time.Second || f.forTime > maxFor:
		return nil, fmt.Errorf("--for %v is out of range: use 1s to %v", f.forTime, maxFor)
	case f.diskSync < 0 || f.diskSync > maxDiskSync:
		return nil, fmt.Errorf("--disk-sync %v is out of range: use 1ms to %v, such as 20ms", f.diskSync, maxDiskSync)
	case f.slots < 0 || f.slots > 4096:
		return nil, fmt.Errorf("--slots %d is out of range: use 1 to 4096", f.slots)
	}
	if f.tls && f.profiles != "" {
		return nil, errors.New("--profiles reads profiles over plain HTTP: leave out --tls")
	}
	if f.how == harness.Network && slices.Contains(workloads, harness.Failover) {
		if f.tls {
			return nil, errors.New("--how network has no TLS: use --how kill or pause, or leave out --tls")
		}
		if err := needNetwork("--how network", ": use --how kill or pause"); err != nil {
			return nil, err
		}
	}
	if f.diskSync > 0 {
		if err := needDisk(); err != nil {
			return nil, err
		}
	}
	if f.profiles != "" {
		if err := os.MkdirAll(f.profiles, 0o755); err != nil {
			return nil, fmt.Errorf("--profiles: %w", err)
		}
	}
	if f.rota == "" {
		f.rota = findRota()
	}
	return workloads, nil
}

// needDisk says what is missing here for disks that are slow.
func needDisk() error {
	if os.Geteuid() != 0 {
		return errors.New("--disk-sync needs root, to mount FUSE disks: run it as root, or measure without it")
	}
	if err := disk.Available(); err != nil {
		return fmt.Errorf("--disk-sync needs FUSE, and this machine lacks it: %w", err)
	}
	return nil
}

// needNetwork says what is missing here for hosts with a network of their own. what names what needs them, and
// without says what to do without them.
func needNetwork(what, without string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s needs root, to make network namespaces%s", what, without)
	}
	if err := network.Available(); err != nil {
		return fmt.Errorf("%s needs network namespaces and TUN devices, and this machine lacks them: %w%s", what, err, without)
	}
	return nil
}

// findRota looks beside this program, and then where the repository builds it.
func findRota() string {
	var places []string
	if self, err := os.Executable(); err == nil {
		places = append(places, filepath.Dir(self))
	}
	if here, err := os.Getwd(); err == nil {
		places = append(places, here)
	}
	for _, place := range places {
		if path := systems.FindRota(place); path != "" {
			return path
		}
	}
	return ""
}

// subjects are Rota, once for each log store.
func (f *runFlags) subjects() []harness.System {
	var list []harness.System
	for _, store := range f.logStores {
		list = append(list, &systems.Rota{
			Label: "rota-" + store, Binary: f.rota, ServerFlags: append(slices.Clone(f.rotaFlags), "--log-store", store), DiskSync: f.diskSync, TLS: f.tls, Profiles: f.profiles != "",
		})
	}
	if len(list) == 0 {
		list = append(list, &systems.Rota{Label: "rota", Binary: f.rota, ServerFlags: f.rotaFlags, DiskSync: f.diskSync, TLS: f.tls, Profiles: f.profiles != ""})
	}
	return list
}

// peerSystems are the peers that were asked for, and what cannot be measured.
func (f *runFlags) peerSystems(w harness.Workload) (peers []harness.System, skipped []report.Skipped, err error) {
	known := map[string][]harness.System{
		"nats": {&systems.NATS{}}, "river": {&systems.River{}}, "asynq": {&systems.Asynq{}},
		"python": {&systems.Python{}, &systems.Python{Futures: true}}, "xargs": {&systems.Xargs{}},
	}
	names := f.peers
	if w == harness.Commands && len(names) > 0 && !slices.Contains(names, "none") && !slices.Contains(names, "xargs") {
		names = append([]string{"xargs"}, names...)
	}
	for _, name := range names {
		if name == "none" || name == "" {
			continue
		}
		if reason := f.rotaAlone(w); reason != "" && known[name] != nil {
			skipped = append(skipped, report.Skipped{Name: name, Reason: reason})
			continue
		}
		list, ok := known[name]
		if !ok {
			return nil, nil, fmt.Errorf("unknown peer %q: use nats, river, asynq, python, xargs or none", name)
		}
		for _, s := range list {
			if note, ok := s.Counterpart(w); !ok {
				skipped = append(skipped, report.Skipped{Name: s.Name(), Reason: note})
			} else if err := s.Check(); err != nil {
				skipped = append(skipped, report.Skipped{Name: s.Name(), Reason: err.Error()})
				fmt.Fprintf(os.Stderr, "bench: %s is left out: %v\n", s.Name(), err)
			} else {
				peers = append(peers, s)
			}
		}
	}
	return peers, skipped, nil
}

// rotaAlone says why no peer is measured; empty: peers can be.
func (f *runFlags) rotaAlone(w harness.Workload) string {
	switch {
	case w == harness.Failover && f.how == harness.Network:
		return "only Rota's processes are on hosts whose network can be cut"
	case w == harness.Overload:
		return "what is asked is whether Rota keeps its own bounds"
	case f.diskSync > 0:
		return "only Rota's servers are on disks whose fsync is slow"
	}
	return ""
}

func (f *runFlags) load(w harness.Workload, s harness.System) harness.Load {
	tasks := sizes[w]["rota"]
	own, ok := sizes[w][s.Name()]
	if f.tasks > 0 {
		tasks = f.tasks
	}
	if ok && !f.sameTasks && !strings.HasPrefix(s.Name(), "rota") {
		tasks = min(tasks, own)
	}
	slots := f.slots
	if slots == 0 {
		slots = defaultSlots
		if w == harness.Commands {
			slots = commandSlots
		}
	}
	clients := f.clients
	if clients == 0 {
		clients = defaultClients
		if w == harness.Overload {
			clients = overloadClients
		}
	}
	return harness.Load{Workload: w, Tasks: tasks, Clients: clients, For: f.forTime, Slots: slots, How: f.how}
}

// measure measures a workload. There is a report of what could be measured beside the error that says
// what could not; none where nothing was tried.
func (f *runFlags) measure(ctx context.Context, w harness.Workload, dir string) (*report.Report, error) {
	subjects := f.subjects()
	for _, s := range subjects {
		if err := s.Check(); err != nil {
			return nil, err
		}
	}
	peers, skipped, err := f.peerSystems(w)
	if err != nil {
		return nil, err
	}
	runs := f.runs
	if runs == 0 {
		runs = defaultRuns
		if w == harness.Failover || w == harness.Overload {
			runs = 1
		}
	}
	steps := harness.Plan(subjects, peers, runs, func(s harness.System) harness.Load { return f.load(w, s) })
	progress := func(i int, s harness.Step, run *harness.Run, err error) {
		switch {
		case err != nil:
			fmt.Fprintf(os.Stderr, "bench:   failed: %s\n", firstLine(err))
			return
		case run == nil:
			size := fmt.Sprintf("%d tasks", s.Load.Tasks)
			if w == harness.Overload {
				size = fmt.Sprintf("%d clients for %v", s.Load.Clients, s.Load.For)
			}
			fmt.Fprintf(os.Stderr, "bench: %s %d/%d: %s, %s\n", w, i+1, len(steps), s.System.Name(), size)
			return
		}
		fmt.Fprintf(os.Stderr, "bench:   %.2f s, %.0f tasks/s\n", run.Elapsed.Seconds(), float64(run.Tasks)/run.Elapsed.Seconds())
	}
	outcomes, failures := harness.Execute(ctx, steps, harness.Options{
		Dir: dir, Timeout: f.timeout, Keep: f.keep, Profiles: f.profiles,
		Again: func(s harness.System, why error) {
			fmt.Fprintf(os.Stderr, "bench:   %s is started again, with other ports: %s\n", s.Name(), firstLine(why))
		},
	}, progress)
	r := report.New(w, subjects, peers, outcomes, skipped)
	r.Conditions = f.conditions(w)
	r.Fail(failures)
	var errs []error
	for _, failure := range failures {
		errs = append(errs, failure.Err)
	}
	return r, errors.Join(errs...)
}

// firstLine is an error without the ends of logs that follow it.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// conditions is what the flags make different from a usual run of a workload.
func (f *runFlags) conditions(w harness.Workload) []string {
	var list []string
	if w == harness.Failover {
		list = append(list, "leader lost by "+f.how)
	}
	if f.tls {
		list = append(list, "TLS on all connections of Rota")
	}
	if f.diskSync > 0 {
		list = append(list, fmt.Sprintf("each fsync of a server takes %v at least", f.diskSync))
	}
	return list
}

// workFolder makes the folder for the data, which others must be able to enter.
func workFolder(parent string, keep bool) (dir string, remove func(), err error) {
	if parent != "" {
		if parent, err = filepath.Abs(parent); err != nil {
			return "", nil, err
		}
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return "", nil, fmt.Errorf("make the folder for the data: %w", err)
		}
	}
	if dir, err = os.MkdirTemp(parent, "rota-bench-"); err != nil {
		return "", nil, fmt.Errorf("make the folder for the data: %w", err)
	}
	err = os.Chmod(dir, 0o711)
	remove = func() {
		if keep {
			fmt.Fprintln(os.Stderr, "bench: the data is kept in", dir)
		} else if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
	if err != nil {
		remove()
		return "", nil, errors.Join(err)
	}
	return dir, remove, nil
}
