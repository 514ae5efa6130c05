package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// Env is what a workload runs in.
type Env struct {
	Cluster  *cluster.Cluster
	Recorder *history.Recorder
	// Concurrency is how many clients there are; Rate how many steps they begin in a
	// second, all together.
	Concurrency int
	Rate        float64
	// Timeout bounds one call.
	Timeout time.Duration
	// Binary is a rota that can restore what the servers save, and Dir the folder for that.
	Binary, Dir string
	// Ledger is the path of the file that commands write into.
	Ledger string
	Seed   uint64
}

// Workload is one kind of load.
type Workload struct {
	Name, About string
	// Checked is the checks that must have had something to check.
	Checked []string
	// Slow divides the rate, for steps that are much work.
	Slow float64
	// ServerFlags are those of the servers that it needs.
	ServerFlags []string
	// make makes its steps.
	make func(env *Env) steps
}

// steps is what the clients of one run do.
type steps interface {
	// step is called by many clients at once.
	step(ctx context.Context, c *Client)
	// end brings what is open to its end.
	end(ctx context.Context, c *Client) error
}

// worker is for steps that also work beside the clients, until long after the load, because jobs must come to their
// end.
type worker interface {
	begin(env *Env)
	close()
}

// common is the checks for which every workload must have given something to check.
var common = []string{"S1", "S2", "S3", "S5", "S14", "S15", "S19", "S21", "L2"}

// catalogue is all workloads.
var catalogue = []Workload{
	{"queue", "jobs of a few tasks", nil, 1, nil, func(env *Env) steps { return &queue{} }},
	{"idempotent", "the same keys again and again, also with other content", nil, 1, nil, func(env *Env) steps { return &idempotent{} }},
	{"register", "appends to open jobs and reads of them", []string{"S11", "S12"}, 1, nil, func(env *Env) steps { return &registers{} }},
	{"serial", "serial jobs of commands that keep a ledger", []string{"S6"}, 16, nil, func(env *Env) steps { return &serial{} }},
	{"cancel-race", "jobs that are cancelled at any moment", []string{"S7"}, 3, nil, func(env *Env) steps { return &cancels{} }},
	{"retry-lease", "attempts that fail, are lost, and are reported late or twice", []string{"S4", "S8"}, 5, nil, func(env *Env) steps { return &retries{} }},
	{"stream", "results that are followed, with breaks", []string{"S13"}, 10, nil, func(env *Env) steps { return &streams{} }},
	{
		"snapshot", "results and keys that outlive the log they came by", []string{"S18"}, 1,
		[]string{"--snapshot-bytes", snapshotBytes, "--trailing-bytes", snapshotBytes}, func(env *Env) steps { return &snapshots{} },
	},
	{"backup", "jobs, and backups of them that are restored beside the cluster", []string{"S23"}, 1, nil, func(env *Env) steps { return &backups{} }},
	{"membership", "jobs of a few tasks, while servers lose their votes and get them again", []string{"S16"}, 1, nil, func(env *Env) steps { return &members{} }},
	{"conservation", "jobs that are counted while they come and go", []string{"S20"}, 1, nil, func(env *Env) steps { return &conservation{} }},
}

// Names is the names of all workloads.
func Names() []string {
	var names []string
	for _, w := range catalogue {
		names = append(names, w.Name)
	}
	return names
}

// Get returns a workload by its name.
func Get(name string) (Workload, error) {
	at := slices.IndexFunc(catalogue, func(w Workload) bool { return w.Name == name })
	if at < 0 {
		return Workload{}, fmt.Errorf("there is no workload %q: use one of %v", name, Names())
	}
	w := catalogue[at]
	w.Checked = append(slices.Clone(common), w.Checked...)
	return w, nil
}

// Load is a workload at work.
type Load struct {
	steps   steps
	clients []*Client
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// Start starts the clients.
func (w Workload) Start(ctx context.Context, env *Env) (*Load, error) {
	l := &Load{steps: w.make(env)}
	if b, ok := l.steps.(worker); ok {
		b.begin(env)
	}
	for i := range env.Concurrency {
		c, err := newClient(env, i, env.Cluster.Clients[i%len(env.Cluster.Clients)])
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.clients = append(l.clients, c)
	}
	ctx, l.cancel = context.WithCancel(ctx)
	meanPause := time.Duration(float64(env.Concurrency) * w.Slow / env.Rate * float64(time.Second))
	for _, c := range l.clients {
		l.running.Go(func() {
			// At random moments: clients that move in step meet few races.
			for ticks.Sleep(ctx, time.Duration(c.Random.Int64N(int64(2*meanPause)+1))) {
				// A step that has begun is not broken off by the end of the load.
				l.steps.step(context.WithoutCancel(ctx), c)
			}
		})
	}
	return l, nil
}

// Stop ends the load, and brings what is open to its end.
func (l *Load) Stop(ctx context.Context) error {
	l.cancel()
	l.running.Wait()
	return l.steps.end(ctx, l.clients[0])
}

// Close frees the clients.
func (l *Load) Close() error {
	if l.cancel != nil {
		l.cancel()
		l.running.Wait()
	}
	if b, ok := l.steps.(worker); ok {
		b.close()
	}
	var errs []error
	for _, c := range l.clients {
		errs = append(errs, c.close())
	}
	return errors.Join(errs...)
}

// nothingOpen is for workloads whose jobs end by themselves.
type nothingOpen struct{}

func (nothingOpen) end(context.Context, *Client) error { return nil }
