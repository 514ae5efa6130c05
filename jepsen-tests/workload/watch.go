package workload

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

const (
	// watchEvery is how often each server is asked, watchTimeout how long it may take.
	watchEvery   = 500 * time.Millisecond
	watchTimeout = 2 * time.Second
	// firstProbe numbers the processes of probes downwards: they are no clients.
	firstProbe = -10
)

// Watch asks every server for its state and for a linearizable read, and the leader for the
// workers, until stop is called. It asks each from its own host, which no cut hinders.
func Watch(ctx context.Context, c *cluster.Cluster, rec *history.Recorder) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	every := func(ask func(ctx context.Context)) {
		running.Go(func() {
			for ticks.Sleep(ctx, watchEvery) {
				one, done := context.WithTimeout(ctx, watchTimeout)
				ask(one)
				done()
			}
		})
	}
	for i, s := range c.Servers {
		every(func(ctx context.Context) { sample(ctx, s, rec) })
		every(func(ctx context.Context) { probe(ctx, s, firstProbe-i, rec) })
	}
	every(func(ctx context.Context) { watchWorkers(ctx, c, rec) })
	return func() {
		cancel()
		running.Wait()
	}
}

// probe asks one server for a linearizable read.
func probe(ctx context.Context, s *cluster.Server, process int, rec *history.Recorder) {
	conn, err := s.At()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	op := history.Op{Type: history.Invoke, F: history.FProbe, Process: process, Node: s.Name}
	rec.Record(op, history.Probe{Server: s.Name})
	resp, err := conn.Jobs.ListJobs(ctx, &rotav1.ListJobsRequest{PageSize: 1})
	op.Type = outcome(err)
	if err != nil {
		op.Error = err.Error()
	}
	rec.Record(op, history.Probed{Applied: resp.GetAppliedIndex()})
}

// watchWorkers notes what the workers hold and run.
func watchWorkers(ctx context.Context, c *cluster.Cluster, rec *history.Recorder) {
	cl, err := c.Client(c.Servers[0].Host)
	if err != nil {
		return
	}
	defer cl.Close()
	list, err := cl.Workers(ctx, client.WorkersOptions{})
	if err != nil {
		return
	}
	var all history.Workers
	for _, w := range list {
		all.Workers = append(all.Workers, history.Worker{Name: w.Name, Slots: w.Slots, Assigned: w.Assigned, Running: w.Running})
	}
	rec.Note(history.Observer, history.FWorkers, "", all)
}

// sample notes what a server says of itself. One that does not answer says nothing.
func sample(ctx context.Context, s *cluster.Server, rec *history.Recorder) {
	values, err := metrics(ctx, s)
	if err != nil {
		return
	}
	out := history.Sample{
		Process: values["process_start_time_seconds"], Term: number(values["rota_raft_term"]), Applied: number(values["rota_applied_index"]), Commit: number(values["rota_commit_index"]),
		Routines: int64(number(values["go_goroutines"])), Files: int64(number(values["process_open_fds"])),
		Heap: int64(number(values["go_memstats_heap_inuse_bytes"])), Log: logSize(s),
	}
	conn, err := s.At()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	if status, err := conn.Cluster.Status(ctx, &rotav1.StatusRequest{}); err == nil {
		for _, other := range status.GetServers() {
			if other.GetId() == s.Name {
				out.ServerID = other.GetServerId()
				out.Version, out.Knows = status.GetActiveVersion(), other.GetKnows()
			}
			if other.GetVoter() && other.GetServerId() != "" {
				out.Voters = append(out.Voters, history.Voter{Node: other.GetId(), ServerID: other.GetServerId()})
			}
		}
	}
	rec.Note(history.Observer, history.FSample, s.Name, out)
}

// metrics reads the metrics of a server that have no labels.
func metrics(ctx context.Context, s *cluster.Server) (map[string]string, error) {
	web := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, addr string) (net.Conn, error) { return s.Host.Dial(ctx, addr) },
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.HTTPAddr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := web.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	values := map[string]string{}
	in := bufio.NewScanner(resp.Body)
	for in.Scan() {
		if name, value, ok := strings.Cut(in.Text(), " "); ok && !strings.HasPrefix(name, "#") {
			values[name] = value
		}
	}
	if values["rota_applied_index"] == "" {
		return nil, fmt.Errorf("%s has no metrics", s.Name)
	}
	return values, in.Err()
}

// number reads a metric, such as 1.234e+06.
func number(text string) uint64 {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || f < 0 {
		return 0
	}
	return uint64(f)
}

// logSize is what a server's log takes, as far as it can be seen.
func logSize(s *cluster.Server) int64 {
	size := int64(0)
	// Files come and go meanwhile.
	_ = filepath.WalkDir(s.Data(), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "raft") {
			if info, err := d.Info(); err == nil {
				size += info.Size()
			}
		}
		return nil
	})
	return size
}
