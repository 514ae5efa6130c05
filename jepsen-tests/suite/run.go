package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/jepsen-tests/clock"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/jepsen-tests/ledger"
	"github.com/rota-scheduler/rota/jepsen-tests/nemesis"
	"github.com/rota-scheduler/rota/jepsen-tests/workload"
)

const (
	// startTimeout bounds the start of a cluster.
	startTimeout = 90 * time.Second
	// minAcks is the least number of acknowledged calls of a run that says anything.
	minAcks = 10
	// callTimeout bounds one call of a client.
	callTimeout = 5 * time.Second
	// leaseTimeout is how long a worker may be silent: short, so that runs of a minute see
	// workers lost.
	leaseTimeout = 2 * time.Second
	// moreFaults is how many times at most the phase of faults is repeated because no leader has lost its
	// place.
	moreFaults = 2
	// clientHosts is how many hosts the clients share.
	clientHosts = 3
)

// Config is one test.
type Config struct {
	// Binary is the rota to test. If a fault turns clocks, it is one built of the product's source, in the folder
	// Source, which Builds keeps; so is the next build, that servers are upgraded to.
	Binary, Source, Builds string
	// Dir is the new folder of the run.
	Dir            string
	Servers        int
	Workers, Slots int
	Workload       string
	// Nemesis is a list of faults as nemesis.Parse takes it.
	Nemesis  string
	Interval time.Duration
	// Quiet and Faults are how long these phases last, Drain how long the drain may take.
	Quiet, Faults, Drain time.Duration
	// Recovery bounds the time from a heal to the next acknowledged submit.
	Recovery    time.Duration
	Rate        float64
	Concurrency int
	Seed        uint64
	// ServerFlags are further flags of the servers.
	ServerFlags []string
	// Can says what this machine can do.
	Can Abilities
	// Progress gets a line for each phase.
	Progress io.Writer
}

// run is one test under way.
type run struct {
	cfg Config
	// next is the next build; "": nobody is upgraded.
	next     string
	work     workload.Workload
	faults   []nemesis.Fault
	recorder *history.Recorder
	cluster  *cluster.Cluster
	nemesis  *nemesis.Nemesis
	leaders  *leaders
	refusals *refusals
	env      *workload.Env
}

// Run runs a test and returns its history.
func Run(ctx context.Context, cfg Config) (ops []history.Op, err error) {
	r := &run{cfg: cfg}
	if r.work, err = workload.Get(cfg.Workload); err != nil {
		return nil, err
	}
	if r.faults, err = nemesis.Parse(cfg.Nemesis, cfg.Can.Meets); err != nil {
		return nil, err
	}
	if r.clocks() {
		// Before the history begins: it may take minutes, once.
		if r.cfg.Binary, err = clock.Build(ctx, cfg.Source, "./cmd/rota", cfg.Builds); err != nil {
			return nil, err
		}
	}
	if r.upgrades() {
		if r.next, err = clock.Build(ctx, cfg.Source, "./cmd/rota", cfg.Builds, nextTag); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the run: %w", err)
	}
	if r.recorder, err = history.NewRecorder(filepath.Join(cfg.Dir, historyFile)); err != nil {
		return nil, err
	}
	err = errors.Join(r.run(ctx), r.recorder.Close())
	return r.recorder.Ops(), err
}

func (r *run) run(ctx context.Context) (err error) {
	if err := r.lay(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.cluster.Close()) }()
	r.setup()
	started, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := r.cluster.Start(started); err != nil {
		return fmt.Errorf("start the cluster: %w", err)
	}
	r.leaders.watch(ctx)
	defer r.leaders.stop()
	r.refusals.watch(ctx)
	defer r.refusals.stop()
	defer workload.Watch(ctx, r.cluster, r.recorder)()
	return r.phases(ctx)
}

// clocks says that wall clocks are turned.
func (r *run) clocks() bool {
	return slices.ContainsFunc(r.faults, func(f nemesis.Fault) bool { return f.Need == nemesis.NeedsClock })
}

// nextTag is the build tag of the next build: it knows one version of the log more.
const nextTag = "rotanext"

// upgrades says that servers are replaced by the next build.
func (r *run) upgrades() bool {
	return slices.ContainsFunc(r.faults, func(f nemesis.Fault) bool { return f.Kind == nemesis.Upgrade })
}

// lay makes the cluster and everything around it.
func (r *run) lay() (err error) {
	cfg := r.cfg
	r.cluster, err = cluster.New(cluster.Config{
		Binary: cfg.Binary, Next: r.next, Dir: filepath.Join(cfg.Dir, clusterDir), Servers: cfg.Servers, Workers: cfg.Workers,
		ClientHosts: clientHosts, Slots: cfg.Slots, Seed: cfg.Seed, Network: cfg.Can.Network == nil, Disk: cfg.Can.Disk == nil, Clock: r.clocks(),
		ServerFlags: append(append([]string{"--lease-timeout", leaseTimeout.String()}, r.work.ServerFlags...), cfg.ServerFlags...),
		OnExit: func(p *cluster.Process, code int) {
			r.recorder.Note(history.Observer, history.FExit, p.Name, history.Exit{
				Name: p.Name, Code: code, Excused: r.nemesis.Excused(p.Name), Tail: p.Tail(),
			})
		},
	})
	if err != nil {
		return err
	}
	r.leaders = newLeaders(r.cluster, r.recorder)
	r.refusals = &refusals{cluster: r.cluster}
	r.nemesis = nemesis.New(nemesis.Config{
		Cluster: r.cluster, Leader: r.leaders.newest, Recorder: r.recorder, Faults: r.faults, Interval: cfg.Interval, Seed: cfg.Seed,
	})
	r.env = &workload.Env{
		Cluster: r.cluster, Recorder: r.recorder, Concurrency: cfg.Concurrency, Rate: cfg.Rate, Timeout: callTimeout,
		Binary: cmp.Or(r.next, cfg.Binary), Dir: cfg.Dir, Ledger: filepath.Join(cfg.Dir, ledgerFile), Seed: cfg.Seed,
	}
	return nil
}

// setup notes what is run.
func (r *run) setup() {
	var workers []string
	for _, w := range r.cluster.Workers {
		workers = append(workers, w.Name)
	}
	r.recorder.Note(history.Observer, history.FSetup, "", history.Setup{
		Workload: r.cfg.Workload, Nemesis: r.cfg.Nemesis, Servers: r.cluster.Names(), Workers: workers, Seed: r.cfg.Seed,
		RecoveryNs: r.cfg.Recovery.Nanoseconds(), Needs: r.needs(),
	})
}

// needs is the least that must happen for this run to mean anything.
func (r *run) needs() history.Needs {
	needs := history.Needs{Acks: minAcks, Checked: r.work.Checked}
	if len(r.faults) == 0 {
		return needs
	}
	needs.Faults = 1
	if r.upgrades() {
		needs.Checked = append(slices.Clone(needs.Checked), "S22")
	}
	if slices.ContainsFunc(r.faults, nemesis.Fault.Lasts) {
		// Nobody submits after its heal, and it may hit no leader.
		needs.Checked = append(needs.Checked, "L4")
		return needs
	}
	needs.Checked = append(needs.Checked, "L1")
	leaders := true
	for _, f := range r.faults {
		leaders = leaders && f.Leaders
	}
	if leaders {
		needs.Leaders = 1
	}
	return needs
}

func (r *run) phase(name string) {
	r.recorder.Note(history.Observer, history.FPhase, "", history.Phase{Name: name})
	fmt.Fprintf(r.cfg.Progress, "%s  %s\n", time.Now().Format(time.TimeOnly), name)
}

// warn tells of a phase that did not come to its end: why is for the checkers to say.
func (r *run) warn(err error) {
	if err != nil {
		fmt.Fprintf(r.cfg.Progress, "          %v\n", err)
	}
}

func (r *run) phases(ctx context.Context) error {
	r.phase("quiet")
	load, err := r.work.Start(ctx, r.env)
	if err != nil {
		return fmt.Errorf("start the load: %w", err)
	}
	defer func() { _ = load.Close() }()
	ticks.Sleep(ctx, r.cfg.Quiet)

	r.phase("faults")
	// Chance may spare every leader; nothing was tested then.
	for stint := 0; stint == 0 || stint <= moreFaults && r.leaders.changes() < r.needs().Leaders; stint++ {
		if err := r.harm(ctx); err != nil {
			return err
		}
	}
	lasts := r.nemesis.Lasts()
	if lasts {
		// What lasts must keep nothing from coming to its end.
		r.phase("drain")
		r.drained(r.drain(ctx, load))
	}

	r.phase("heal")
	if err := errors.Join(r.nemesis.End(ctx), r.cluster.Restore(ctx)); err != nil {
		return err
	}
	r.phase("recovery")
	r.warn(r.recover(ctx, !lasts))
	if !lasts {
		r.phase("drain")
		r.warn(r.drain(ctx, load))
	}

	r.phase("final")
	if err := r.final(ctx); err != nil {
		return err
	}
	r.phase("done")
	return ctx.Err()
}

// harm injects faults for as long as the phase lasts.
func (r *run) harm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Faults)
	defer cancel()
	if err := r.nemesis.Run(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// drain ends the load, and waits until every job is final.
func (r *run) drain(ctx context.Context, load *workload.Load) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Drain)
	defer cancel()
	return errors.Join(load.Stop(ctx), workload.Drain(ctx, r.cluster))
}

// drained notes whether all work came to its end while a fault went on.
func (r *run) drained(err error) {
	phase := history.Phase{Name: history.Drained}
	if err != nil {
		phase.Problem = err.Error()
	}
	r.recorder.Note(history.Observer, history.FPhase, "", phase)
	r.warn(err)
}

// recover waits until every server is ready and, under load, a submit or append was
// acknowledged.
func (r *run) recover(ctx context.Context, load bool) error {
	// Longer than is allowed, so that L1 can say how long it took.
	ctx, cancel := context.WithTimeout(ctx, 3*r.cfg.Recovery)
	defer cancel()
	began := len(r.recorder.Ops())
	var errs []error
	for _, s := range r.cluster.Servers {
		errs = append(errs, s.WaitReady(ctx))
	}
	if !load {
		return errors.Join(errs...)
	}
	errs = append(errs, cluster.Await(ctx, "an acknowledged submit or append", func() error {
		if !acknowledgedSince(r.recorder.Ops()[began:]) {
			return errors.New("there is none since the heal")
		}
		return nil
	}))
	return errors.Join(errs...)
}

// acknowledgedSince says whether work was submitted and acknowledged within these ops.
func acknowledgedSince(ops []history.Op) bool {
	begun := map[int]bool{}
	for _, op := range ops {
		switch {
		case !op.F.Grows():
		case op.Type == history.Invoke:
			begun[op.Process] = true
		case op.Type == history.OK && begun[op.Process]:
			return true
		}
	}
	return false
}

// final records what there is in the end.
func (r *run) final(ctx context.Context) error {
	r.recorder.Note(history.Observer, history.FRefused, "", history.Refused{Reports: r.refusals.stop()})
	r.warn(workload.Final(ctx, r.cluster, r.recorder))
	written, err := ledger.Read(r.env.Ledger)
	if err != nil {
		return err
	}
	r.recorder.Note(history.Observer, history.FLedger, "", written)
	for _, p := range r.cluster.Processes() {
		lines, alarms, err := p.Alarms()
		if err != nil {
			return err
		}
		r.recorder.Note(history.Observer, history.FLogs, p.Name, history.Logs{Name: p.Name, Lines: lines, Alarms: alarms})
	}
	return nil
}
