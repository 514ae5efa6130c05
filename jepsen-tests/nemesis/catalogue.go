package nemesis

import (
	"context"
	"fmt"
	"slices"
	"strings"
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
	// NeedsClock: a binary whose wall clock can be set.
	NeedsClock
	// NeedsSource: the next build, of the product's source.
	NeedsSource
)

func (n Need) String() string {
	switch n {
	case NeedsNetwork:
		return "network"
	case NeedsDisk:
		return "disk"
	case NeedsClock:
		return "clock"
	case NeedsSource:
		return "source"
	default:
		return "-"
	}
}

// Fault is one kind of fault.
type Fault struct {
	Kind  string
	About string
	Need  Need
	// Leaders: it is sure to cost leaders their place, sooner or later.
	Leaders bool

	inject func(ctx context.Context, h *harm) error
}

// LastingPrefix begins the names of faults that are not healed before all work is done.
const LastingPrefix = "lasting:"

// Lasts says that the fault goes on until the load has ended and every job is final.
func (f Fault) Lasts() bool { return strings.HasPrefix(f.Kind, LastingPrefix) }

// catalogue is all faults.
var catalogue = []Fault{
	{"kill", "kill -9 of one server, the leader, a minority, a majority or all", NeedsNothing, true, kill},
	{"kill:followers", "kill -9 of every server but the leader, which loses its majority and not its life", NeedsNothing, false, killFollowers},
	{"pause", "SIGSTOP of the same, and SIGCONT in the middle of what they did", NeedsNothing, true, pause},
	{"pause:primaries", "SIGSTOP of the leader, and SIGCONT when others have moved on", NeedsNothing, true, pausePrimaries},
	{"pause-kill", "paused, then killed without going on", NeedsNothing, true, pauseKill},
	{"snapshot-install", "a follower that is down until it needs a snapshot, and is killed while it takes it over", NeedsNothing, false, snapshotInstall},
	{"rolling-restart", "one server after the other, in good order", NeedsNothing, true, rollingRestart},
	{Upgrade, "servers are replaced by the next build, one at a time, now and then back, until all are of it: two builds are one cluster", NeedsSource, false, upgrade},
	{"leader-transfer", "the leader is asked to hand its place over, again and again", NeedsNothing, true, leaderTransfer},
	{"wipe", "a minority loses its data, one server after the other, and each comes back as a new one", NeedsNothing, false, wipe},
	{"membership", "servers are removed, one after the other; each must end, must not come back with its data, and joins and votes as a new one", NeedsNothing, false, membership},
	{"worker-kill", "kill -9 of workers", NeedsNothing, false, workerKill},
	{"worker-pause", "SIGSTOP of workers, for longer than their lease or not", NeedsNothing, false, workerPause},
	{"worker-hostile", "a worker that reports what it was never given, tens of thousands of tasks in a few bytes, while servers have 1 GiB", NeedsNothing, false, workerHostile},
	{"worker-silent", "workers that take tasks, beat, and never say what became of them, whatever their timeout and whoever cancels them", NeedsNothing, false, workerSilent},
	{"client-hostile", "a client that asks for what costs much, reads no answers, and holds connections, on every port", NeedsNothing, false, clientHostile},
	{"partition:one", "one server alone", NeedsNetwork, false, partitionOne},
	{"partition:majority", "a minority with the leader, cut off from a majority", NeedsNetwork, true, partitionMajority},
	{"partition:minority-third", "a third of the servers, none of them the leader, cut off from the rest", NeedsNetwork, false, partitionThird},
	{"partition:ring", "each server reaches its neighbours in a ring only; of three, each hears one other", NeedsNetwork, false, partitionRing},
	{"partition:bridge", "two halves that reach one server in common, and not each other", NeedsNetwork, false, partitionBridge},
	{"partition:oneway", "a server that is heard and does not hear, or the other way", NeedsNetwork, false, partitionOneway},
	{"partition:primaries", "the leader cut off from all other servers", NeedsNetwork, true, partitionPrimaries},
	{"partition:workers", "workers cut off from the leader, or from all servers", NeedsNetwork, false, partitionWorkers},
	{"partition:clients", "clients cut off from the leader, or from all servers", NeedsNetwork, false, partitionClients},
	{"packet:loss", "a fifth of all packets lost", NeedsNetwork, false, packetLoss},
	{"packet:delay", "packets late, twice, and in another order", NeedsNetwork, false, packetDelay},
	{"packet:dup", "every second packet twice", NeedsNetwork, false, packetDup},
	{"packet:slow", "links of little bandwidth, and late", NeedsNetwork, false, packetSlow},
	{"conn-reset", "TCP connections reset on both sides, again and again", NeedsNetwork, false, connReset},
	{"power", "power loss of some or all servers: what was not synced is gone", NeedsDisk, true, power},
	{"power-torn", "the same, and a random half of the sectors is gone", NeedsDisk, true, powerTorn},
	{"disk:enospc", "a full disk", NeedsDisk, false, diskFull},
	{"disk:slow", "every fsync takes long", NeedsDisk, false, diskSlow},
	{"disk:eio", "writes and fsyncs fail: the server must end, and start when the disk is whole", NeedsDisk, false, diskFailing},
	{"disk:hang", "no fsync returns: a leader must lose its place", NeedsDisk, false, diskHang},
	{"disk:bitflip", "bits of a file of a server, of any kind, flip while it is down: it refuses to start, or repairs; then it is replaced", NeedsNothing, false, diskBitflip},
	{"disk:truncate", "the same with the end of a file gone", NeedsNothing, false, diskTruncate},
	{"clock:bump", "wall clocks jump by milliseconds to a year, ahead or back, and return", NeedsClock, false, clockBump},
	{"clock:strobe", "wall clocks jump to and fro, many times a second", NeedsClock, false, clockStrobe},
	{LastingPrefix + "kill", "a minority is killed and stays away, until all work is done", NeedsNothing, false, lastingKill},
	{LastingPrefix + "partition", "a minority is cut off from the other servers, for as long", NeedsNetwork, false, lastingPartition},
	{LastingPrefix + "oneway", "the leader is not heard by the other servers, or does not hear them, for as long", NeedsNetwork, false, partitionOneway},
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
// cannot do are left out of "all", as are those that last: no other would come after them.
func Parse(list string, can func(Need) bool) ([]Fault, error) {
	var out []Fault
	for name := range strings.SplitSeq(list, ",") {
		switch name {
		case None:
			continue
		case All:
			for _, f := range catalogue {
				if can(f.Need) && !f.Lasts() {
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
