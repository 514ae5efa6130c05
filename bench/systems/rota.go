package systems

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/bench/child"
	"github.com/rota-scheduler/rota/bench/harness"
	"github.com/rota-scheduler/rota/bench/rotacluster"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// Rota is a cluster of real servers and workers.
type Rota struct {
	// Label is its name in the report.
	Label string
	// Binary is the rota to run.
	Binary string
	// Servers is how many there are; 0: 3.
	Servers int
	// ServerFlags are further flags of the servers.
	ServerFlags []string
	// DiskSync is how much longer each fsync of a server takes; 0: as the disk is.
	DiskSync time.Duration
	// TLS secures all connections.
	TLS bool
	// Profiles makes servers and workers tell what they do.
	Profiles bool

	ground ground
	// cluster is the processes on this machine; nil if they have hosts of their own.
	cluster *rotacluster.Cluster
	client  *client.Client
}

const (
	rotaServers = 3
	noopHandler = "rota.noop"
	echoHandler = "rota.echo"
)

// Name implements harness.System.
func (r *Rota) Name() string { return r.Label }

// Copies implements harness.Replicator.
func (r *Rota) Copies() int { return max(r.Servers, 1) }

// Check implements harness.System.
func (r *Rota) Check() error {
	if r.Servers == 0 {
		r.Servers = rotaServers
	}
	if r.Binary == "" {
		return errors.New("no rota binary was found: run make build in the repository, or name one with --rota")
	}
	return nil
}

// Counterpart implements harness.System.
func (r *Rota) Counterpart(w harness.Workload) (string, bool) {
	return map[harness.Workload]string{
		harness.Array:    "one array job, results received as completed",
		harness.Distinct: "one job, results received as completed",
		harness.Single:   "a job of one task, its result received",
		harness.Clients:  "each client a job of one task at a time, one SDK client for all",
		harness.Large:    "one job, results received as completed",
		harness.Commands: "rota map -- echo {}",
		harness.Overload: "each client a job of one task at a time, one in 20 with a large payload, from several SDK clients",
		harness.Failover: "from the loss of the leader to a new job's first result",
	}[w], true
}

// Start implements harness.System.
func (r *Rota) Start(ctx context.Context, dir string, load harness.Load) error {
	ground, err := r.lay(dir, &load)
	if err != nil {
		return err
	}
	r.ground = ground
	if err := ground.Start(ctx); err != nil {
		if portTaken.MatchString(err.Error()) {
			err = errors.Join(child.ErrPortTaken, err)
		}
		return err
	}
	r.client, err = ground.Client()
	return err
}

// Stop implements harness.System.
func (r *Rota) Stop(ctx context.Context) error {
	var errs []error
	if r.client != nil {
		errs = append(errs, r.client.Close())
	}
	if r.ground != nil {
		errs = append(errs, r.ground.Stop(ctx))
	}
	r.client, r.ground, r.cluster = nil, nil, nil
	return errors.Join(errs...)
}

// Processes implements harness.System.
func (r *Rota) Processes() []harness.Process {
	if r.cluster == nil {
		return nil // What they cost is told of no failover.
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	// Without an answer all servers are followers in the report.
	info, _ := r.client.Status(ctx)
	var list []harness.Process
	for _, s := range r.cluster.Servers {
		role := "follower"
		if s.Name == info.Leader {
			role = "leader"
		}
		list = append(list, harness.Process{Role: role, Pid: s.Pid()})
	}
	for _, w := range r.cluster.Workers {
		list = append(list, harness.Process{Role: "worker", Pid: w.Pid()})
	}
	return list
}

// portTaken is how a server says that it could not have one of its ports.
var portTaken = regexp.MustCompile(`port [0-9]+ of --[a-z-]+ is taken`)

// servedProfiles is what a worker logs of where its profiles are.
var servedProfiles = regexp.MustCompile(`msg="profiles are served".* profiles=(\S+)`)

// ProfileURLs implements harness.Profiled.
func (r *Rota) ProfileURLs() (map[string][]string, error) {
	if r.cluster == nil {
		return nil, errors.New("processes on hosts of their own are not profiled")
	}
	urls := map[string][]string{}
	roles := map[int]string{}
	for _, p := range r.Processes() {
		roles[p.Pid] = p.Role
	}
	for _, s := range r.cluster.Servers {
		role := roles[s.Pid()]
		urls[role] = append(urls[role], "http://"+s.HTTPAddr)
	}
	for _, w := range r.cluster.Workers {
		log, err := os.ReadFile(w.LogFile)
		if err != nil {
			return nil, fmt.Errorf("look for the profiles of %s: %w", w.Name, err)
		}
		at := servedProfiles.FindSubmatch(log)
		if at == nil {
			return nil, fmt.Errorf("%s does not say where its profiles are", w.Name)
		}
		urls["worker"] = append(urls["worker"], "http://"+string(at[1]))
	}
	return urls, nil
}

// Verify implements harness.Verifier: all servers hold the same.
func (r *Rota) Verify(ctx context.Context) error {
	info, err := r.client.Verify(ctx)
	if err != nil {
		return err
	}
	if !info.OK {
		return fmt.Errorf("%w: the servers do not hold the same: %+v", harness.ErrBroken, info.Servers)
	}
	return nil
}

// Run implements harness.System.
func (r *Rota) Run(ctx context.Context, load harness.Load) (harness.Measure, error) {
	switch load.Workload {
	case harness.Array:
		return r.job(ctx, &load, client.Request{Spec: task.Spec{Handler: noopHandler}, Count: load.Tasks})
	case harness.Distinct:
		return r.job(ctx, &load, client.Request{Spec: task.Spec{Handler: noopHandler}, Payloads: payloads(&load)})
	case harness.Large:
		return r.job(ctx, &load, client.Request{Spec: task.Spec{Handler: echoHandler}, Payloads: payloads(&load)})
	case harness.Single:
		return singly(&load, 1, func(i int) error { return r.single(ctx, &load, i) })
	case harness.Clients:
		return singly(&load, load.Clients, func(i int) error { return r.single(ctx, &load, i) })
	case harness.Commands:
		return r.mapLines(ctx, &load)
	case harness.Failover:
		return r.failover(ctx, &load)
	case harness.Overload:
		return r.overload(ctx, &load)
	}
	return harness.Measure{}, errUnknown(load.Workload)
}

func payloads(load *harness.Load) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for i := range load.Tasks {
			if !yield(load.Payload(i)) {
				return
			}
		}
	}
}

// job runs one job and checks that each result comes once and is right.
func (r *Rota) job(ctx context.Context, load *harness.Load, req client.Request) (harness.Measure, error) {
	tally := harness.NewTally(load, true)
	start := time.Now()
	job, err := r.client.Submit(ctx, req)
	if err != nil {
		return harness.Measure{}, err
	}
	for result, err := range job.AsCompleted(ctx) {
		if err == nil && result.State != task.Succeeded {
			err = fmt.Errorf("task %d %s: %s", result.Index, result.State, result.Error)
		}
		if err == nil {
			err = tally.Add(int(result.Index), result.Output)
		}
		if err != nil {
			return harness.Measure{}, err
		}
	}
	return harness.Measure{Tasks: load.Tasks, Elapsed: time.Since(start)}, tally.Complete()
}

// single runs task i as a job of its own.
func (r *Rota) single(ctx context.Context, load *harness.Load, i int) error {
	payload := load.Payload(i)
	result, err := r.client.Run(ctx, task.Spec{Handler: noopHandler}, payload)
	if err == nil && (result.State != task.Succeeded || string(result.Output) != string(harness.Work(payload))) {
		err = fmt.Errorf("task %d: %s, result %x: %s", i, result.State, result.Output, result.Error)
	}
	return err
}

// singly runs tasks one at a time from so many clients at once, and takes the time of
// each.
func singly(load *harness.Load, clients int, run func(i int) error) (harness.Measure, error) {
	m := harness.Measure{Tasks: load.Tasks, Latencies: make([]time.Duration, load.Tasks)}
	errs := make([]error, clients)
	var parts sync.WaitGroup
	start := time.Now()
	for c := range clients {
		parts.Go(func() {
			for i := c; i < load.Tasks && errs[c] == nil; i += clients {
				began := time.Now()
				errs[c] = run(i)
				m.Latencies[i] = time.Since(began)
			}
		})
	}
	parts.Wait()
	m.Elapsed = time.Since(start)
	return m, errors.Join(errs...)
}

func errUnknown(w harness.Workload) error { return fmt.Errorf("there is no workload %q", w) }

// FindRota looks for a rota binary where one is usually built.
func FindRota(start string) string {
	for _, path := range []string{
		filepath.Join(start, "rota"), filepath.Join(start, "..", "rota"),
		filepath.Join(start, "bin", "rota"), filepath.Join(start, "..", "bin", "rota"),
	} {
		if executable(path) {
			return path
		}
	}
	return ""
}
