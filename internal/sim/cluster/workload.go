package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/node"
)

// Options is what one run does.
type Options struct {
	Seed    uint64
	Dir     string
	Servers int
	Clients int
	Workers int
	// Chaos is how long clients submit and the nemesis is at work.
	Chaos time.Duration
	// Drain is how long everything may take after that to come to its end.
	Drain  time.Duration
	Logger *slog.Logger
}

// lease is the lease of workers' sessions in a run: short, so that many end.
const lease = 2 * time.Second

// Run is one simulated history.
type Run struct {
	opts    Options
	c       *Cluster
	history *History
	clients []*client
	workers []*worker

	// ctx ends when clients and workers are to end. chaos ends with the part of it that makes trouble.
	ctx   context.Context
	chaos context.Context
	end   context.CancelFunc
	wg    sync.WaitGroup
}

// Simulate runs one history, in a bubble, and returns what was wrong with it.
func Simulate(o Options) (Counts, []string) {
	r := &Run{opts: o, history: newHistory()}
	random := r.random("run")
	electionTimeout := []time.Duration{150 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond}[random.IntN(3)]
	snapshotBytes := []int64{8 << 10, 64 << 10, 1 << 30}[random.IntN(3)]
	r.c = New(Config{
		Servers: o.Servers, Dir: o.Dir, Seed: o.Seed, Logger: o.Logger,
		Edit: func(cfg *node.Config) {
			cfg.LeaseTimeout = lease
			cfg.CommitTimeout = 20 * time.Millisecond
			cfg.ElectionTimeout = electionTimeout
			cfg.SnapshotBytes, cfg.TrailingBytes = snapshotBytes, snapshotBytes/4
		},
	})
	began := time.Now()
	var cancel context.CancelFunc
	r.ctx, r.end = context.WithCancel(context.Background())
	r.chaos, cancel = context.WithTimeout(r.ctx, o.Chaos)
	defer cancel()
	r.run()
	if err := r.c.Close(); err != nil {
		r.history.problem("close: %v", err)
	}
	if err := r.c.Fatal(); err != nil {
		r.history.problem("a server had to stop: %v", err)
	}
	r.history.count(func(c *Counts) { c.VirtualTime, c.Lost = time.Since(began), r.c.Net.Lost() })
	return r.history.Counts, r.history.problems
}

// random returns the source of random numbers of one part of the run.
func (r *Run) random(part string) *rand.Rand {
	h := uint64(14695981039346656037)
	for _, b := range []byte(part) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return rand.New(rand.NewPCG(r.opts.Seed, h))
}

func (r *Run) run() {
	if upgrades() {
		r.oldBuild()
	}
	if err := r.c.StartAll(); err != nil {
		r.history.problem("%v", err)
		return
	}
	drained := r.work()
	r.end()
	r.wg.Wait()
	if drained {
		ctx, cancel := context.WithTimeout(context.Background(), r.opts.Drain)
		defer cancel()
		r.checkFinal(ctx)
	}
}

// work runs clients, workers and nemesis, until all is done or it is clear that it will
// never be.
func (r *Run) work() (drained bool) {
	r.wg.Go(r.watch)
	r.wg.Go(r.pounce)
	var clients, nemesis sync.WaitGroup
	for i := range r.opts.Clients {
		name := fmt.Sprintf("c%d", i+1)
		cl := &client{r: r, name: name, random: r.random(name)}
		cl.load = sim.NewLoad(name, cl.random)
		r.clients = append(r.clients, cl)
		clients.Go(cl.run)
	}
	for i := range r.opts.Workers {
		w := newWorker(r, fmt.Sprintf("w%d", i+1))
		r.workers = append(r.workers, w)
		w.start()
	}
	nemesis.Go(newNemesis(r).run)
	<-r.chaos.Done()
	nemesis.Wait()
	r.heal()
	clients.Wait()
	return r.drain()
}

// heal ends all trouble. The last servers of an older build are replaced.
func (r *Run) heal() {
	r.c.Net.Heal()
	r.upgradeAll()
	for _, s := range r.c.Servers {
		if s.Node() == nil {
			if err := s.Start(); err != nil {
				r.history.problem("%v", err)
			}
		}
	}
	for _, w := range r.workers {
		w.resume()
		w.start()
	}
}

// drain waits until every job is final on every server, and all have applied the same.
func (r *Run) drain() bool {
	ctx, cancel := context.WithTimeout(r.ctx, r.opts.Drain)
	defer cancel()
	for {
		unfinished := r.unfinished()
		if unfinished == "" {
			return true
		}
		if sleep(ctx, 200*time.Millisecond) != nil {
			r.history.problem("%v after everything was healed: %s; %s", r.opts.Drain, unfinished, r.describe())
			return false
		}
	}
}

// describe says who could do what is left to do.
func (r *Run) describe() string {
	var out []string
	for _, s := range r.c.Servers {
		n := s.Node()
		if n == nil {
			continue
		}
		if term, ok := n.Ready(); ok {
			out = append(out, fmt.Sprintf("%s leads in term %d", s.Name, term))
			for _, session := range n.State().Machine().Sessions() {
				status, ok := n.Fleet().Status(session.Id)
				out = append(out, fmt.Sprintf("session %d of %s: slots %d, assigned %d, known %v, %+v", session.Id, session.Worker, session.Slots, session.Assigned, ok, status))
			}
		}
	}
	for _, w := range r.workers {
		out = append(out, w.describe())
	}
	return strings.Join(out, "; ")
}

// watch looks at the servers from outside, all the time.
func (r *Run) watch() {
	random := r.random("watch")
	for n := 0; sleep(r.ctx, 20*time.Millisecond+time.Duration(random.Int64N(int64(40*time.Millisecond)))) == nil; n++ {
		for _, s := range r.c.Servers {
			nd := s.Node()
			if nd == nil {
				continue
			}
			m := nd.State().Machine()
			active := m.ActiveVersion()
			index, digest := m.Digest()
			r.history.digest(s.Name, index, digest)
			if m.ActiveVersion() == active {
				r.checkVersion(s.Name, index, active)
			}
			switch random.IntN(100) {
			case 0:
				for _, wrong := range m.CheckInvariants() {
					r.history.problem("%s: %s", s.Name, wrong)
				}
			case 1, 2:
				// Stale or not, what is final stays.
				if id, ok := r.history.aJob(random); ok {
					r.look(s, nd, id)
				}
			}
		}
	}
}

// pounce reads at each new leader at the moment when it becomes ready: that is when its state machine may lack what
// its predecessor acknowledged.
func (r *Run) pounce() {
	seen := map[string]uint64{}
	for sleep(r.ctx, time.Millisecond) == nil {
		for _, s := range r.c.Servers {
			n := s.Node()
			if n == nil {
				continue
			}
			term, ok := n.Ready()
			if !ok || term == seen[s.Name] {
				continue
			}
			seen[s.Name] = term
			r.history.leads(s.Name, term)
			r.readNewest(s, n)
		}
	}
}

// readNewest reads, linearizably, what was acknowledged last.
func (r *Run) readNewest(s *Server, n *node.Node) {
	jobs, tasks := r.history.newest()
	ctx, cancel := context.WithTimeout(r.ctx, callTimeout)
	defer cancel()
	if n.Barrier(ctx) != nil {
		return
	}
	r.history.count(func(c *Counts) { c.Reads++ })
	for _, id := range jobs {
		if _, err := n.State().Job(id); err != nil && s.Node() == n {
			r.history.problem("%s, which leads now, lacks job %d, which was acknowledged: %v", s.Name, id, err)
		}
	}
	for _, id := range tasks {
		if _, final, err := n.State().Cursor(id.Job, id.Index); (err != nil || !final) && s.Node() == n {
			r.history.problem("%s, which leads now, does not know that task %v is final: %v", s.Name, id, err)
		}
	}
}

// look notes the results of a job that a server shows. A server that ends meanwhile may
// show nothing.
func (r *Run) look(s *Server, n *node.Node, job uint64) {
	rec, err := n.State().Job(job)
	if err != nil {
		return
	}
	for i := uint32(0); i < rec.Total; i++ {
		results, err := n.State().Ordered(job, i, int(rec.Total-i))
		if err != nil {
			if s.Node() == n {
				r.history.problem("%s: results of job %d from %d on: %v", s.Name, job, i, err)
			}
			return
		}
		r.history.saw(s.Name, job, results)
		if len(results) > 0 {
			i = results[len(results)-1].Index
		}
	}
}
