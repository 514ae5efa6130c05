package cluster

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm"
)

// nemesis makes trouble, one phase after the other, until the time for it is over.
type nemesis struct {
	r      *Run
	random *rand.Rand
}

func newNemesis(r *Run) *nemesis { return &nemesis{r, r.random("nemesis")} }

func (x *nemesis) run() {
	troubles := []func(){
		x.isolateLeader, x.isolateLeader, x.isolateOne, x.halves, x.oneWay, x.oneWay, x.lossy, x.slow,
		x.crashLeader, x.crashOne, x.crashMajority, x.crashAll, x.restartInOrder,
		x.wipe, x.transfer, x.transferAgain, x.pauseWorkers, x.killWorkers, x.cutWorkers,
	}
	if upgrades() {
		troubles = append(troubles, x.replace, x.replace, x.replace, x.replace, x.replace, x.replace)
	}
	for x.wait(200*time.Millisecond, 3*time.Second) {
		troubles[x.random.IntN(len(troubles))]()
		x.r.c.Net.Heal()
	}
}

// wait waits for a random time; it returns false if the time for trouble is over.
func (x *nemesis) wait(from, to time.Duration) bool {
	return sleep(x.r.chaos, from+time.Duration(x.random.Int64N(int64(to-from)))) == nil
}

// last keeps a trouble up for a while: sometimes shorter than an election, sometimes
// longer than a lease.
func (x *nemesis) last() { x.wait(100*time.Millisecond, 2*lease) }

func (x *nemesis) some(s []*Server) *Server { return s[x.random.IntN(len(s))] }

// leader is the leader, or any server if there is none.
func (x *nemesis) leader() *Server {
	if s := x.r.c.Leader(); s != nil {
		return s
	}
	return x.some(x.r.c.Servers)
}

// names is the names of servers, workers and clients.
func (x *nemesis) names() []string {
	out := x.r.c.Names()
	for _, w := range x.r.workers {
		out = append(out, w.id)
	}
	for _, c := range x.r.clients {
		out = append(out, c.name)
	}
	return out
}

// split divides names at random.
func (x *nemesis) split(names []string) (a, b []string) {
	for _, n := range names {
		if x.random.IntN(2) == 0 {
			a = append(a, n)
		} else {
			b = append(b, n)
		}
	}
	return a, b
}

func (x *nemesis) without(name string) []string {
	var out []string
	for _, n := range x.r.c.Names() {
		if n != name {
			out = append(out, n)
		}
	}
	return out
}

// isolateLeader cuts the leader off from the other servers, but not from workers and
// clients, who may go on believing in it.
func (x *nemesis) isolateLeader() {
	l := x.leader().Name
	x.r.c.Net.CutOff([]string{l}, x.without(l))
	x.last()
}

func (x *nemesis) isolateOne() {
	s := x.some(x.r.c.Servers).Name
	x.r.c.Net.CutOff([]string{s}, x.names())
	x.last()
}

func (x *nemesis) halves() {
	x.r.c.Net.CutOff(x.split(x.names()))
	x.last()
}

func (x *nemesis) oneWay() {
	l := x.leader().Name
	switch others := x.without(l); x.random.IntN(4) {
	case 0:
		x.r.c.Net.CutOneWay([]string{l}, others)
	case 1:
		x.r.c.Net.CutOneWay(others, []string{l})
	case 2:
		x.r.c.Net.CutOneWay([]string{l}, others[:1])
	default:
		x.r.c.Net.CutOneWay(x.split(x.names()))
	}
	x.last()
}

func (x *nemesis) lossy() {
	x.r.c.Net.SetLoss(0.02 + 0.25*x.random.Float64())
	x.last()
}

func (x *nemesis) slow() {
	a, _ := x.split(x.names())
	x.r.c.Net.SetSlow(a, x.names(), time.Duration(20+x.random.IntN(150))*time.Millisecond)
	x.last()
}

func (x *nemesis) crash(servers ...*Server) {
	var wg sync.WaitGroup
	for _, s := range servers {
		wg.Go(func() {
			if err := s.Crash(); err != nil {
				x.r.history.problem("crash %s: %v", s.Name, err)
			}
		})
	}
	wg.Wait()
	x.r.history.count(func(c *Counts) { c.Crashes += len(servers) })
	x.wait(time.Millisecond, lease)
	for _, s := range servers {
		if err := s.Start(); err != nil {
			x.r.history.problem("%v", err)
		}
		if x.random.IntN(2) == 0 {
			x.wait(time.Millisecond, time.Second)
		}
	}
}

func (x *nemesis) crashLeader() { x.crash(x.leader()) }
func (x *nemesis) crashOne()    { x.crash(x.some(x.r.c.Servers)) }
func (x *nemesis) crashAll()    { x.crash(x.r.c.Servers...) }

func (x *nemesis) crashMajority() {
	n := len(x.r.c.Servers)
	at := x.random.Perm(n)[:n/2+1]
	var servers []*Server
	for _, i := range at {
		servers = append(servers, x.r.c.Servers[i])
	}
	x.crash(servers...)
}

// wipe takes the disk from one server. Until it has caught up as a new one nothing else
// happens: another loss could be that of a majority.
func (x *nemesis) wipe() {
	s := x.some(x.r.c.Servers)
	if err := s.Crash(); err != nil {
		x.r.history.problem("crash %s: %v", s.Name, err)
	}
	x.wait(time.Millisecond, lease)
	s.Wipe()
	if x.r.risen() {
		s.Install(fsm.Version) // another one would not be let in
	}
	if err := s.Start(); err != nil {
		x.r.history.problem("%v", err)
		return
	}
	x.r.history.count(func(c *Counts) { c.Wipes++ })
	ctx, cancel := context.WithTimeout(x.r.ctx, time.Minute)
	defer cancel()
	for !x.votes(s.Node().Self().RaftID()) {
		if sleep(ctx, 50*time.Millisecond) != nil {
			x.r.history.problem("%s lost its disk, and is no voter again after a minute", s.Name)
			return
		}
	}
}

// votes says whether the server of an id is a voter by the leader's configuration.
func (x *nemesis) votes(id raft.ServerID) bool {
	l := x.r.c.Leader()
	if l == nil || l.Node() == nil {
		return false
	}
	servers, err := l.Node().Servers()
	return err == nil && slices.ContainsFunc(servers, func(v raft.Server) bool {
		return v.ID == id && v.Suffrage == raft.Voter
	}) && len(servers) == len(x.r.c.Servers)
}

// restartInOrder stops the leader as an operator does.
func (x *nemesis) restartInOrder() {
	s := x.leader()
	ctx, cancel := context.WithTimeout(x.r.ctx, 30*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		x.r.history.problem("stop %s: %v", s.Name, err)
	}
	x.wait(time.Millisecond, time.Second)
	if err := s.Start(); err != nil {
		x.r.history.problem("%v", err)
	}
}

func (x *nemesis) transfer() {
	if n := x.leader().Node(); n != nil {
		_ = n.TransferLeadership(x.r.chaos, "") // it may fail
	}
}

func (x *nemesis) transferAgain() {
	for range 1 + x.random.IntN(6) {
		x.transfer()
		x.wait(time.Millisecond, 300*time.Millisecond)
	}
}

// pauseWorkers stops agents, some for longer than their lease.
func (x *nemesis) pauseWorkers() {
	paused := x.someWorkers()
	for _, w := range paused {
		w.pause()
	}
	x.wait(lease/4, 3*lease)
	for _, w := range paused {
		w.resume()
	}
}

func (x *nemesis) killWorkers() {
	killed := x.someWorkers()
	for _, w := range killed {
		w.die(x.random.IntN(3) == 0)
	}
	x.wait(time.Millisecond, 2*lease)
	for _, w := range killed {
		w.start()
	}
}

// cutWorkers cuts workers off from the leader, or from all servers.
func (x *nemesis) cutWorkers() {
	var ids []string
	for _, w := range x.someWorkers() {
		ids = append(ids, w.id)
	}
	from := x.r.c.Names()
	if x.random.IntN(2) == 0 {
		from = []string{x.leader().Name}
	}
	x.r.c.Net.CutOff(ids, from)
	x.last()
}

func (x *nemesis) someWorkers() (out []*worker) {
	for _, w := range x.r.workers {
		if x.random.IntN(2) == 0 {
			out = append(out, w)
		}
	}
	return out
}
