package catchup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/rota-scheduler/rota/bench/report"
	"github.com/rota-scheduler/rota/bench/stats"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
)

const (
	servers, slots = 3, 16
	// tellEvery is how often a run reports its progress.
	tellEvery = 10 * time.Second
	// copyPort is where the copy arrives on the host of the server that is away.
	copyPort  = "7499"
	stateFile = "state.db"
	gib, mib  = 1 << 30, 1 << 20
)

// Options is how a measurement is made.
type Options struct {
	// Binary is the rota to run, Dir the folder for its data.
	Binary, Dir string
	// State is how large the leader's state.db is to be, bytes; Link the rate to the server
	// that catches up, bytes a second.
	State int64
	Link  float64
	// Jobs is how many are submitted a second while something is measured.
	Jobs int
	// Quiet is how long the phases before and after take.
	Quiet       time.Duration
	ServerFlags []string
	Progress    func(format string, args ...any)
}

// run is a measurement under way.
type run struct {
	Options
	cluster *cluster.Cluster
	client  *client.Client
	load    *load
	leader  *cluster.Server
	// away is the follower that catches up.
	away  *cluster.Server
	exits chan error
	out   report.Catchup
}

// Run makes a measurement.
func Run(ctx context.Context, o Options) (out *report.Catchup, err error) {
	r := &run{Options: o, exits: make(chan error, 1)}
	r.out = report.Catchup{LinkMiB: o.Link / mib, JobsPerSecond: o.Jobs, TasksPerJob: TasksPerJob, PayloadBytes: PayloadBytes}
	r.cluster, err = cluster.New(cluster.Config{
		Binary: o.Binary, Dir: o.Dir, Servers: servers, Workers: 1, Slots: slots, ClientHosts: 1, Network: true, ServerFlags: o.ServerFlags,
		OnExit: func(p *cluster.Process, code int) {
			select {
			case r.exits <- fmt.Errorf("%s ended with code %d: %s", p.Name, code, p.Tail()):
			default: // One is enough.
			}
		},
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.cluster.Close()) }()
	if err := r.cluster.Start(ctx); err != nil {
		return nil, err
	}
	if r.client, err = r.cluster.Client(r.cluster.Clients[0]); err != nil {
		return nil, err
	}
	defer r.client.Close()
	return &r.out, r.measure(ctx)
}

func (r *run) measure(ctx context.Context) error {
	first, err := r.client.Status(ctx)
	if err != nil {
		return err
	}
	if err := r.choose(first.Leader); err != nil {
		return err
	}
	r.away.Kill()
	if err := r.fill(ctx); err != nil {
		return fmt.Errorf("fill the state: %w", err)
	}
	before, err := r.client.Status(ctx)
	if err != nil {
		return err
	}
	if before.Leader != r.leader.Name {
		return fmt.Errorf("%s lost its place to %s while the state was filled: the machine is too busy for a measurement", r.leader.Name, before.Leader)
	}
	for _, p := range r.cluster.Processes() {
		if p.Host != r.away.Host {
			r.cluster.Switch.Set(p.Host.Addr, r.away.Host.Addr, network.Link{Rate: r.Link})
		}
	}
	r.load = startLoad(ctx, r.client, r.Jobs)
	err = r.phases(ctx)
	if err := errors.Join(err, r.load.stop()); err != nil {
		return err
	}
	return r.check(ctx, before)
}

// choose finds the leader, and a follower to be taken away.
func (r *run) choose(leader string) error {
	for _, s := range r.cluster.Servers {
		if s.Name == leader {
			r.leader = s
		} else {
			r.away = s
		}
	}
	if r.leader == nil {
		return fmt.Errorf("there is no leader, but %q", leader)
	}
	return nil
}

func (r *run) fill(ctx context.Context) error {
	began, told := time.Now(), time.Now()
	err := fill(ctx, r.client, func(ctx context.Context) (bool, error) {
		s, err := r.sample(ctx)
		if time.Since(told) > tellEvery {
			told = time.Now()
			r.Progress("filling: %.2f of %.2f GiB", s.state/gib, float64(r.State)/gib)
		}
		return s.state >= float64(r.State), err
	})
	r.out.FillSeconds = time.Since(began).Seconds()
	return err
}

// phases measures one after the other.
func (r *run) phases(ctx context.Context) error {
	quiet := func(ctx context.Context) error {
		select {
		case <-time.After(r.Quiet):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, p := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"before", quiet}, {"a copy of the file", r.copy}, {"between", quiet},
		{"catching up", func(ctx context.Context) error { return r.cluster.Replace(ctx, r.away) }}, {"after", quiet},
	} {
		if err := r.phase(ctx, p.name, p.do); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func (r *run) phase(ctx context.Context, name string, do func(context.Context) error) error {
	r.Progress("%s", name)
	if _, err := r.load.take(); err != nil {
		return err
	}
	first, err := r.sample(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- do(ctx) }()
	if err := r.watch(ctx, name, first, ended); err != nil {
		return err
	}
	seconds := time.Since(began).Seconds()
	last, err := r.sample(ctx)
	if err != nil {
		return err
	}
	took, err := r.load.take()
	if err != nil {
		return err
	}
	applied := last.since(first)
	r.out.Phases = append(r.out.Phases, report.Phase{
		Name: name, Seconds: seconds, StateGiB: last.state / gib, Applied: applied.total(),
		ApplyP50MS: applied.quantile(50), ApplyP99MS: applied.quantile(99),
		Submits: len(took), SubmitP50MS: stats.Percentile(took, 50), SubmitP99MS: stats.Percentile(took, 99), SubmitMaxMS: stats.Percentile(took, 100),
	})
	return nil
}

// watch waits for the end of a phase, and reports how Apply does in the meantime.
func (r *run) watch(ctx context.Context, name string, last sample, ended <-chan error) error {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for began := time.Now(); ; {
		select {
		case err := <-ended:
			return err
		case err := <-r.exits:
			return err
		case <-tick.C:
		}
		now, err := r.sample(ctx)
		if err != nil {
			return err
		}
		if now.term != last.term || !now.leads {
			return fmt.Errorf("%s led in term %.0f and does not any more: the term is %.0f", r.leader.Name, last.term, now.term)
		}
		applied := now.since(last)
		r.Progress("%s, %.0f s: Apply p50 %.2f ms, p99 %.2f ms, state.db %.2f GiB", name, time.Since(began).Seconds(), applied.quantile(50), applied.quantile(99), now.state/gib)
		last = now
	}
}

func (r *run) sample(ctx context.Context) (sample, error) {
	text, err := r.leader.Metrics(ctx)
	if err != nil {
		return sample{}, fmt.Errorf("read the metrics of %s: %w", r.leader.Name, err)
	}
	return parse(text)
}

// copy sends the leader's file over the link into a file beside it, which is then deleted.
func (r *run) copy(ctx context.Context) (err error) {
	addr := net.JoinHostPort(r.away.Host.Addr.String(), copyPort)
	var l net.Listener
	if err := r.away.Host.Do(func() (err error) {
		l, err = net.Listen("tcp4", addr)
		return err
	}); err != nil {
		return err
	}
	received := make(chan error, 1)
	go func() { received <- receive(l, filepath.Join(r.Dir, "copy")) }()
	err = r.send(ctx, addr)
	return errors.Join(err, l.Close(), <-received)
}

func (r *run) send(ctx context.Context, addr string) error {
	file, err := os.Open(filepath.Join(r.leader.Data(), stateFile))
	if err != nil {
		return err
	}
	defer file.Close()
	conn, err := r.leader.Host.Dial(ctx, addr)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // what waits for it ends with an error
	defer stop()
	// Only as much as there is now: the file grows in the meantime.
	info, err := file.Stat()
	if err == nil {
		_, err = io.CopyN(conn, file, info.Size())
	}
	return errors.Join(err, conn.Close())
}

// receive writes what comes over one connection into a file, as durably as a server would.
func receive(l net.Listener, path string) (err error) {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	_, err = io.Copy(file, conn)
	return errors.Join(err, file.Sync(), file.Close(), conn.Close(), os.Remove(path))
}

// check checks that nothing unexpected has happened.
func (r *run) check(ctx context.Context, before client.ClusterInfo) error {
	select {
	case err := <-r.exits:
		return err
	default:
	}
	after, err := r.client.Status(ctx)
	if err != nil {
		return err
	}
	if after.Leader != before.Leader || after.Term != before.Term {
		return fmt.Errorf("%s led in term %d before, and %s leads in term %d now", before.Leader, before.Term, after.Leader, after.Term)
	}
	same, err := r.client.Verify(ctx)
	if err == nil && (!same.OK || len(same.Servers) != servers) {
		err = fmt.Errorf("the servers do not agree at index %d: %+v", same.Index, same.Servers)
	}
	return err
}
