package nemesis

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
)

// Need is what a fault needs of the machine.
type Need int

// The needs.
const (
	NeedsNothing Need = iota
	// NeedsNetwork: hosts with a network of their own.
	NeedsNetwork
	// NeedsDisk: disks that can be harmed.
	NeedsDisk
)

// Fault is one kind of fault.
type Fault struct {
	Kind  string
	About string
	Need  Need
	// Leaders: it is sure to cost leaders their place, sooner or later.
	Leaders bool

	inject func(ctx context.Context, h *harm) error
}

// catalogue is all faults.
var catalogue = []Fault{
	{"kill", "kill -9 of one server, the leader, a minority, a majority or all", NeedsNothing, true, kill},
	{"pause", "SIGSTOP of the same, and SIGCONT in the middle of what they did", NeedsNothing, true, pause},
	{"pause:primaries", "SIGSTOP of the leader, and SIGCONT when others have moved on", NeedsNothing, true, pausePrimaries},
	{"pause-kill", "paused, then killed without going on", NeedsNothing, true, pauseKill},
	{"rolling-restart", "one server after the other, in good order", NeedsNothing, true, rollingRestart},
	{"worker-kill", "kill -9 of workers", NeedsNothing, false, workerKill},
	{"worker-pause", "SIGSTOP of workers, for longer than their lease or not", NeedsNothing, false, workerPause},
	{"partition:one", "one server alone", NeedsNetwork, false, partitionOne},
	{"partition:majority", "a minority with the leader, cut off from a majority", NeedsNetwork, true, partitionMajority},
	{"partition:oneway", "a server that is heard and does not hear, or the other way", NeedsNetwork, false, partitionOneway},
	{"partition:primaries", "the leader cut off from all other servers", NeedsNetwork, true, partitionPrimaries},
	{"packet:loss", "a fifth of all packets lost", NeedsNetwork, false, packetLoss},
	{"packet:delay", "packets late, twice, and in another order", NeedsNetwork, false, packetDelay},
	{"power", "power loss of some or all servers: what was not synced is gone", NeedsDisk, true, power},
	{"power-torn", "the same, and a random half of the sectors is gone", NeedsDisk, true, powerTorn},
	{"disk:enospc", "a full disk", NeedsDisk, false, diskFull},
	{"disk:slow", "every fsync takes long", NeedsDisk, false, diskSlow},
}

// None and All are names for no fault and for every one that this machine can do.
const (
	None = "none"
	All  = "all"
)

// Names is the names of all faults.
func Names() []string {
	var names []string
	for _, f := range catalogue {
		names = append(names, f.Kind)
	}
	return names
}

// Catalogue is all faults, for those who list them.
func Catalogue() []Fault { return slices.Clone(catalogue) }

// Parse returns the faults of a list such as "kill,partition:one". Those that this machine
// cannot do are left out of "all" only.
func Parse(list string, can func(Need) bool) ([]Fault, error) {
	var out []Fault
	for name := range strings.SplitSeq(list, ",") {
		switch name {
		case None:
			continue
		case All:
			for _, f := range catalogue {
				if can(f.Need) {
					out = append(out, f)
				}
			}
			continue
		}
		at := slices.IndexFunc(catalogue, func(f Fault) bool { return f.Kind == name })
		if at < 0 {
			return nil, fmt.Errorf("there is no fault %q: use none, all or some of %s", name, strings.Join(Names(), ","))
		}
		if !can(catalogue[at].Need) {
			return nil, fmt.Errorf("this machine cannot do %q: see doctor", name)
		}
		out = append(out, catalogue[at])
	}
	return out, nil
}

func kill(_ context.Context, h *harm) error {
	h.kill(processes(h.some())...)
	return nil
}

func pause(_ context.Context, h *harm) error {
	h.pause(processes(h.some())...)
	return nil
}

func pausePrimaries(_ context.Context, h *harm) error {
	h.pause(processes(h.primary())...)
	return nil
}

// pause stops processes where they are. One that has ended is not harmed by it.
func (h *harm) pause(ps ...*cluster.Process) {
	for _, p := range ps {
		if p.Pause() == nil {
			h.effect++
		}
	}
}

func pauseKill(ctx context.Context, h *harm) error {
	servers := h.some()
	h.pause(processes(servers)...)
	h.undo = append(h.undo, func(context.Context) error {
		h.kill(processes(servers)...)
		return nil
	})
	return ctx.Err()
}

func rollingRestart(ctx context.Context, h *harm) error {
	for _, s := range h.hit(h.shuffled()) {
		if ctx.Err() != nil {
			return nil
		}
		// One restart that has begun is brought to its end.
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), healTimeout)
		defer cancel()
		if err := s.Stop(one); err != nil {
			h.late(s.Name, err)
		}
		h.effect++
		if err := s.Start(); err != nil {
			return err
		}
		if err := s.WaitReady(one); err != nil {
			h.late(s.Name, err)
		}
	}
	return nil
}

func workerKill(_ context.Context, h *harm) error {
	h.kill(h.someWorkers()...)
	return nil
}

func workerPause(_ context.Context, h *harm) error {
	h.pause(h.someWorkers()...)
	return nil
}

// someWorkers is one worker or more.
func (h *harm) someWorkers() []*cluster.Process {
	workers := append([]*cluster.Process(nil), h.cluster.Workers...)
	h.random.Shuffle(len(workers), func(i, j int) { workers[i], workers[j] = workers[j], workers[i] })
	if len(workers) > 1 {
		workers = workers[:1+h.random.IntN(len(workers))]
	}
	for _, w := range workers {
		h.targets = append(h.targets, w.Name)
	}
	return workers
}
