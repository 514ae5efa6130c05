package systems

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rota-scheduler/rota/bench/child"
	"github.com/rota-scheduler/rota/bench/harness"
)

// NATS is a JetStream cluster of three servers that sync each write.
type NATS struct {
	// ports are those of the servers, first for clients and then for each other.
	ports   child.Ports
	servers []*child.Process
	names   []string
	workers []*child.Process
	urls    string
	conn    *nats.Conn
	js      jetstream.JetStream
	// failed gets the first publish that was refused.
	failed  chan error
	results *natsResults
}

const (
	natsServers  = 3
	taskStream   = "TASKS"
	resultStream = "RESULTS"
	natsConsumer = "workers"
	natsPending  = 4096
	// natsProbe bounds one attempt of something that is tried again.
	natsProbe = 2 * time.Second
)

// Name implements harness.System.
func (*NATS) Name() string { return "nats" }

// Copies implements harness.Replicator.
func (*NATS) Copies() int { return natsServers }

// Check implements harness.System. Servers and workers are part of this program.
func (*NATS) Check() error { return nil }

// Counterpart implements harness.System.
func (*NATS) Counterpart(w harness.Workload) (string, bool) {
	const common = "JetStream R3, sync_interval always: "
	switch w {
	case harness.Array:
		return common + "there is no array, so each task is an empty message, published asynchronously, acknowledged with double ack", true
	case harness.Distinct, harness.Large:
		return common + "published asynchronously; result published, then task acknowledged; results consumed", true
	case harness.Single, harness.Clients:
		return common + "published and stored; result published, then task acknowledged; result consumed", true
	case harness.Failover:
		return common + "from the loss of the task stream's leader to the next message's result", true
	case harness.Commands:
	}
	return "it runs no commands", false
}

const natsConfig = `server_name: %s
listen: 127.0.0.1:%d
max_payload: 1MB
jetstream: { store_dir: %q, sync_interval: always, max_file_store: 100GB, max_memory_store: 1GB }
cluster: { name: bench, listen: 127.0.0.1:%d, routes: [%s] }
`

// Start implements harness.System.
func (n *NATS) Start(ctx context.Context, dir string, load harness.Load) (err error) {
	if n.ports, err = child.TakePorts(2 * natsServers); err != nil {
		return err
	}
	var routes, urls []string
	for i := range natsServers {
		urls = append(urls, "nats://"+child.Loopback(n.ports[i]))
		routes = append(routes, `"nats://`+child.Loopback(n.ports[natsServers+i])+`"`)
	}
	n.urls = strings.Join(urls, ",")
	for i := range natsServers {
		name := fmt.Sprintf("n%d", i+1)
		path := filepath.Join(dir, name+".conf")
		text := fmt.Sprintf(natsConfig, name, n.ports[i], filepath.Join(dir, name), n.ports[natsServers+i], strings.Join(routes, ", "))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("configure a server: %w", err)
		}
		p, err := child.StartSelf(ctx, dir, roleNATSServer, "nats-"+name, natsServerConfig{File: path})
		if err != nil {
			return err
		}
		n.servers, n.names = append(n.servers, p), append(n.names, name)
	}
	if n.conn, n.js, err = natsConnect(ctx, n.urls, n.refused()); err != nil {
		return err
	}
	if err := n.createStreams(ctx); err != nil {
		return err
	}
	for i := range harness.Workers {
		p, err := child.StartSelf(ctx, dir, roleNATSWorker, fmt.Sprintf("w%d", i+1), natsWorkerConfig{URLs: n.urls, Workload: load.Workload})
		if err != nil {
			return err
		}
		n.workers = append(n.workers, p)
	}
	n.results = newNATSResults()
	return n.results.consume(ctx, n.js, load.Workload)
}

// natsConnect connects and comes back as soon as it can after a loss.
func natsConnect(ctx context.Context, urls string, opts ...jetstream.JetStreamOpt) (conn *nats.Conn, js jetstream.JetStream, err error) {
	err = child.Poll(ctx, func() error {
		conn, err = nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
			nats.ReconnectJitter(0, 0), nats.Timeout(500*time.Millisecond), nats.PingInterval(500*time.Millisecond),
			nats.MaxPingsOutstanding(1))
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("connect to NATS: %w", err)
	}
	js, err = jetstream.New(conn, append(opts, jetstream.WithPublishAsyncMaxPending(natsPending))...)
	return conn, js, err
}

// refused makes asynchronous publishes that fail known to those that wait.
func (n *NATS) refused() jetstream.JetStreamOpt {
	failed := make(chan error, 1)
	n.failed = failed
	return jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, err error) {
		select {
		case failed <- fmt.Errorf("publish to %s: %w", m.Subject, err):
		default:
		}
	})
}

func (n *NATS) createStreams(ctx context.Context) error {
	configs := []jetstream.StreamConfig{
		{Name: taskStream, Subjects: []string{"tasks"}, Retention: jetstream.WorkQueuePolicy},
		{Name: resultStream, Subjects: []string{"results"}},
	}
	for _, c := range configs {
		c.Replicas, c.Storage = natsServers, jetstream.FileStorage
		// The servers take a moment until they have a leader among them.
		err := child.Poll(ctx, func() error {
			probe, cancel := context.WithTimeout(ctx, natsProbe)
			defer cancel()
			_, err := n.js.CreateOrUpdateStream(probe, c)
			return err
		})
		if err != nil {
			return fmt.Errorf("create stream %s: %w", c.Name, err)
		}
	}
	return child.Poll(ctx, func() error {
		probe, cancel := context.WithTimeout(ctx, natsProbe)
		defer cancel()
		_, err := n.js.CreateOrUpdateConsumer(probe, taskStream, jetstream.ConsumerConfig{
			Durable: natsConsumer, AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 2 * natsPending,
		})
		return err
	})
}

// natsPull are the options of a consumer. After a failover it must notice soon that
// its requests are lost; elsewhere the defaults cost least.
func natsPull(w harness.Workload) []jetstream.PullConsumeOpt {
	if w != harness.Failover {
		return []jetstream.PullConsumeOpt{jetstream.PullMaxMessages(1024)}
	}
	return []jetstream.PullConsumeOpt{jetstream.PullExpiry(time.Second), jetstream.PullHeartbeat(500 * time.Millisecond)}
}

// Stop implements harness.System.
func (n *NATS) Stop(ctx context.Context) error {
	if n.results != nil {
		n.results.stop()
	}
	child.StopAll(ctx, n.workers...)
	if n.conn != nil {
		n.conn.Close()
	}
	// The data is thrown away: nothing is gained by an orderly end.
	for _, s := range n.servers {
		s.Kill()
	}
	n.ports.Release()
	*n = NATS{}
	return nil
}

// Processes implements harness.System.
func (n *NATS) Processes() []harness.Process {
	return append(processes("server", n.servers), processes("worker", n.workers)...)
}

func processes(role string, list []*child.Process) []harness.Process {
	var out []harness.Process
	for _, p := range list {
		out = append(out, harness.Process{Role: role, Pid: p.Pid()})
	}
	return out
}

// Run implements harness.System.
func (n *NATS) Run(ctx context.Context, load harness.Load) (harness.Measure, error) {
	switch load.Workload {
	case harness.Array:
		return n.empty(ctx, &load)
	case harness.Distinct, harness.Large:
		return n.batch(ctx, &load)
	case harness.Single:
		return singly(&load, 1, func(i int) error { return n.single(ctx, &load, i) })
	case harness.Clients:
		return singly(&load, load.Clients, func(i int) error { return n.single(ctx, &load, i) })
	case harness.Failover:
		return n.failover(ctx, &load)
	case harness.Commands:
	}
	return harness.Measure{}, errUnknown(load.Workload)
}

// publishAll publishes all tasks and returns when every one is stored.
func (n *NATS) publishAll(ctx context.Context, load *harness.Load) error {
	for i := range load.Tasks {
		if _, err := n.js.PublishAsync("tasks", load.Payload(i), jetstream.WithStallWait(time.Minute)); err != nil {
			return fmt.Errorf("publish task %d: %w", i, err)
		}
	}
	select {
	case <-n.js.PublishAsyncComplete():
		return nil
	case err := <-n.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// empty publishes empty messages, and waits until the work queue is empty: a message
// leaves it when its acknowledgement is stored.
func (n *NATS) empty(ctx context.Context, load *harness.Load) (harness.Measure, error) {
	stream, err := n.js.Stream(ctx, taskStream)
	if err != nil {
		return harness.Measure{}, err
	}
	before := stream.CachedInfo().State.LastSeq
	start := time.Now()
	if err := n.publishAll(ctx, load); err != nil {
		return harness.Measure{}, err
	}
	var last uint64
	err = child.Poll(ctx, func() error {
		info, err := stream.Info(ctx)
		if err == nil && info.State.Msgs > 0 {
			err = fmt.Errorf("%d tasks are left", info.State.Msgs)
		}
		if err == nil {
			last = info.State.LastSeq
		}
		return err
	})
	m := harness.Measure{Tasks: load.Tasks, Elapsed: time.Since(start)}
	if err == nil && last-before != uint64(load.Tasks) {
		err = fmt.Errorf("%d of %d tasks were stored", last-before, load.Tasks)
	}
	return m, err
}

// batch publishes all tasks while their results are received.
func (n *NATS) batch(ctx context.Context, load *harness.Load) (harness.Measure, error) {
	tally := harness.NewTally(load, false)
	n.results.expect(load, tally.Add)
	start := time.Now()
	if err := n.publishAll(ctx, load); err != nil {
		return harness.Measure{}, err
	}
	select {
	case <-tally.Done():
	case err := <-n.results.failed:
		return harness.Measure{}, err
	case <-ctx.Done():
		return harness.Measure{}, errors.Join(ctx.Err(), tally.Complete())
	}
	return harness.Measure{Tasks: load.Tasks, Elapsed: time.Since(start), Duplicates: tally.Duplicates()}, nil
}

// single publishes task i and waits for its result.
func (n *NATS) single(ctx context.Context, load *harness.Load, i int) error {
	result := n.results.wait(load.ID(i))
	payload := load.Payload(i)
	if _, err := n.js.Publish(ctx, "tasks", payload); err != nil {
		return fmt.Errorf("publish task %d: %w", i, err)
	}
	select {
	case got := <-result:
		if string(got) != string(harness.Work(payload)) {
			return fmt.Errorf("the result of task %d is %x", i, got)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
