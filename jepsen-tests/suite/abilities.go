package suite

import (
	"fmt"
	"io"

	"github.com/rota-scheduler/rota/jepsen-tests/clock"
	"github.com/rota-scheduler/rota/jepsen-tests/disk"
	"github.com/rota-scheduler/rota/jepsen-tests/nemesis"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
)

// Abilities is why this machine cannot do something; nil: it can.
type Abilities struct {
	Network, Disk, Clock, Source error
}

// Probe finds out what this machine can do, by doing it. source is the folder of the
// product's source.
func Probe(source string) Abilities {
	built := clock.Available(source)
	return Abilities{Network: network.Available(), Disk: disk.Available(), Clock: built, Source: built}
}

// why is why a need is not met; nil: it is.
func (a Abilities) why(n nemesis.Need) error {
	switch n {
	case nemesis.NeedsNetwork:
		return a.Network
	case nemesis.NeedsDisk:
		return a.Disk
	case nemesis.NeedsClock:
		return a.Clock
	case nemesis.NeedsSource:
		return a.Source
	default:
		return nil
	}
}

// Meets says whether a need of a fault is met.
func (a Abilities) Meets(n nemesis.Need) bool { return a.why(n) == nil }

// Skipped is the faults that this machine cannot do.
func (a Abilities) Skipped() []string {
	var out []string
	for _, f := range nemesis.Catalogue() {
		if !a.Meets(f.Need) {
			out = append(out, f.Kind)
		}
	}
	return out
}

// needs is what there is to need, and what that takes.
var needs = []struct {
	need  nemesis.Need
	about string
}{
	{nemesis.NeedsNothing, "processes to kill, pause and restart; files to damage"},
	{nemesis.NeedsNetwork, "network namespaces and TUN devices (root)"},
	{nemesis.NeedsDisk, "FUSE file systems (root)"},
	{nemesis.NeedsClock, "the go command and the product's source, for a binary with a clock of its own"},
	{nemesis.NeedsSource, "the same, for the next build"},
}

// Doctor tells what this machine can do.
func (a Abilities) Doctor(out io.Writer) {
	for _, n := range needs {
		state := "ok"
		if err := a.why(n.need); err != nil {
			state = "no: " + err.Error()
		}
		fmt.Fprintf(out, "%-8s %s: %s\n", n.need, n.about, state)
	}
	fmt.Fprintf(out, "\n%-24s %-8s %s\n", "FAULT", "NEEDS", "")
	for _, f := range nemesis.Catalogue() {
		state := ""
		if !a.Meets(f.Need) {
			state = "skipped: "
		}
		fmt.Fprintf(out, "%-24s %-8s %s%s\n", f.Kind, f.Need, state, f.About)
	}
}
