package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// healTimeout bounds one heal.
const healTimeout = 60 * time.Second

// Config is what a nemesis works on.
type Config struct {
	Cluster *cluster.Cluster
	// Leader returns the name of the leader, as far as anybody knows; "" without one.
	Leader   func() string
	Recorder *history.Recorder
	Faults   []Fault
	// Interval is about how long a fault lasts, and how long it is quiet between two.
	Interval time.Duration
	Seed     uint64
}

// Nemesis injects faults.
type Nemesis struct {
	cfg    Config
	random *rand.Rand

	mu sync.Mutex
	// excused is the processes that may end by themselves.
	excused map[string]bool

	// lasting is a fault that goes on until End; nil: there is none.
	lasting *harm

	// calls counts those that faults have made as clients and workers.
	calls atomic.Int64
}

// New returns a nemesis that has done nothing yet.
func New(cfg Config) *Nemesis {
	return &Nemesis{cfg: cfg, random: rand.New(rand.NewPCG(cfg.Seed, 3)), excused: map[string]bool{}}
}

// Run injects faults until ctx ends. Then everything is whole again, except for a fault that lasts: it is the last
// one, and goes on until End.
func (n *Nemesis) Run(ctx context.Context) error {
	for len(n.cfg.Faults) > 0 && n.lasting == nil && n.pause(ctx) {
		f := n.cfg.Faults[n.random.IntN(len(n.cfg.Faults))]
		if err := n.once(ctx, f); err != nil {
			return fmt.Errorf("nemesis %s: %w", f.Kind, err)
		}
	}
	return nil
}

// Lasts says whether a fault goes on.
func (n *Nemesis) Lasts() bool { return n.lasting != nil }

// End ends a fault that lasts, if there is one, and an upgrade that has begun.
func (n *Nemesis) End(ctx context.Context) error {
	if h := n.lasting; h != nil {
		n.lasting = nil
		if err := n.heal(ctx, h, nil); err != nil {
			return err
		}
	}
	if n.upgrades() {
		return n.once(ctx, Fault{Kind: Upgrade, inject: upgradeRest})
	}
	return nil
}

// pause waits about an interval; it is false when ctx ended before.
func (n *Nemesis) pause(ctx context.Context) bool {
	return ticks.Sleep(ctx, n.cfg.Interval/2+time.Duration(n.random.Int64N(int64(n.cfg.Interval)+1)))
}

// once runs one fault, from its start to its heal. A fault that lasts is only started.
func (n *Nemesis) once(ctx context.Context, f Fault) error {
	n.excuseNobody()
	h := &harm{kind: f.Kind, cluster: n.cfg.Cluster, random: n.random, leader: n.cfg.Leader, recorder: n.cfg.Recorder, excuse: n.excuse, blame: n.blame, late: n.late, calls: &n.calls}
	// Some faults take a while, and what happens meanwhile is due to them. The heal tells which
	// processes they hit.
	n.cfg.Recorder.Note(history.Nemesis, history.FFault, "", history.Fault{Kind: f.Kind})
	err := f.inject(ctx, h)
	if err == nil && f.Lasts() {
		n.lasting = h
		return nil
	}
	if err == nil {
		n.pause(ctx)
	}
	return n.heal(ctx, h, err)
}

// heal undoes a fault, which returned err.
func (n *Nemesis) heal(ctx context.Context, h *harm, err error) error {
	// A run that is interrupted heals too.
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), healTimeout)
	defer cancel()
	for _, undo := range h.undo {
		err = errors.Join(err, undo(whole))
	}
	if n.cfg.Cluster.Switch != nil {
		h.effect += n.cfg.Cluster.Switch.Heal()
	}
	err = errors.Join(err, n.cfg.Cluster.Restore(whole))
	n.cfg.Recorder.Note(history.Nemesis, history.FHeal, "", history.Fault{Kind: h.kind, Targets: h.targets, Effect: h.effect})
	return errors.Join(err, n.revive(whole))
}

// reviveTimeout bounds the return of servers that a fault may have ended.
const reviveTimeout = 20 * time.Second

// revive waits until the servers that were allowed to end are ready again. If a server notices
// only now what was done to it, and ends, it is started once more.
func (n *Nemesis) revive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reviveTimeout)
	defer cancel()
	for _, s := range n.cfg.Cluster.Servers {
		if !n.Excused(s.Name) {
			continue
		}
		for {
			err := s.WaitReady(ctx)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				// Without a majority nobody is ready, and L1 says what that means.
				return nil
			}
			if !s.Running() {
				if err := s.Start(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (n *Nemesis) excuse(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.excused[name] = true
}

// blame takes an excuse back.
func (n *Nemesis) blame(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.excused, name)
}

// late notes that a process did not end, or was not ready, in time: S21 is about it.
func (n *Nemesis) late(name string, err error) {
	n.cfg.Recorder.Note(history.Nemesis, history.FExit, name, history.Exit{Name: name, Code: -1, Tail: err.Error()})
}

// excuseNobody begins another fault.
func (n *Nemesis) excuseNobody() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.excused)
}

// Excused says whether a process may end by itself, because the newest fault hit it and leaves it
// no better answer.
func (n *Nemesis) Excused(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.excused[name]
}

// harm is one fault at work.
type harm struct {
	kind    string
	cluster *cluster.Cluster
	random  *rand.Rand
	leader  func() string
	// excuse lets a process end by itself, blame does no more.
	excuse, blame func(name string)
	recorder      *history.Recorder
	// late tells of a process that did not do in time what it should.
	late func(name string, err error)
	// calls counts the calls of all faults.
	calls *atomic.Int64

	targets []string
	// effect counts what the fault has done.
	effect int64
	// undo ends it.
	undo []func(ctx context.Context) error
}

// some chooses servers: one, the leader, a minority, a majority or all.
func (h *harm) some() []*cluster.Server {
	servers := h.shuffled()
	count := 1
	switch h.random.IntN(5) {
	case 0:
	case 1:
		return h.primary()
	case 2:
		count = max(1, (len(servers)-1)/2)
	case 3:
		count = len(servers)/2 + 1
	case 4:
		count = len(servers)
	}
	return h.hit(servers[:count])
}

// minority is as many servers as the others can do without, the leader perhaps among them.
func (h *harm) minority() []*cluster.Server {
	return h.hit(h.shuffled()[:(len(h.cluster.Servers)-1)/2])
}

// primary is the leader, or any server if none is known.
func (h *harm) primary() []*cluster.Server {
	name := h.leader()
	for _, s := range h.cluster.Servers {
		if s.Name == name {
			return h.hit([]*cluster.Server{s})
		}
	}
	return h.hit(h.shuffled()[:1])
}

// followers is count servers at most that do not lead, as far as anybody knows.
func (h *harm) followers(count int) (out []*cluster.Server) {
	leader := h.leader()
	for _, s := range h.shuffled() {
		if s.Name != leader && len(out) < count {
			out = append(out, s)
		}
	}
	return h.hit(out)
}

func (h *harm) shuffled() []*cluster.Server {
	servers := append([]*cluster.Server(nil), h.cluster.Servers...)
	h.random.Shuffle(len(servers), func(i, j int) { servers[i], servers[j] = servers[j], servers[i] })
	return servers
}

// hit notes who is harmed.
func (h *harm) hit(servers []*cluster.Server) []*cluster.Server {
	for _, s := range servers {
		h.targets = append(h.targets, s.Name)
	}
	return servers
}

// kill kills processes at once.
func (h *harm) kill(ps ...*cluster.Process) {
	var parts sync.WaitGroup
	for _, p := range ps {
		if p.Running() {
			h.effect++
		}
		parts.Go(p.Kill)
	}
	parts.Wait()
}

func processes(servers []*cluster.Server) []*cluster.Process {
	var out []*cluster.Process
	for _, s := range servers {
		out = append(out, s.Process)
	}
	return out
}
