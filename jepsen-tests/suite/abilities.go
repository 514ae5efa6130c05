package suite

import (
	"fmt"
	"io"

	"github.com/rota-scheduler/rota/jepsen-tests/disk"
	"github.com/rota-scheduler/rota/jepsen-tests/nemesis"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
)

// Abilities is why this machine cannot do something; nil: it can.
type Abilities struct {
	Network, Disk error
}

// Probe finds out what this machine can do, by doing it.
func Probe() Abilities {
	return Abilities{Network: network.Available(), Disk: disk.Available()}
}

// Meets says whether a need of a fault is met.
func (a Abilities) Meets(n nemesis.Need) bool {
	switch n {
	case nemesis.NeedsNetwork:
		return a.Network == nil
	case nemesis.NeedsDisk:
		return a.Disk == nil
	default:
		return true
	}
}

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

// Doctor tells what this machine can do.
func (a Abilities) Doctor(out io.Writer) {
	for _, p := range []struct {
		what string
		err  error
	}{
		{"processes: kill, pause, restart", nil},
		{"network: namespaces and TUN devices (root)", a.Network},
		{"disks: FUSE (root)", a.Disk},
	} {
		state := "ok"
		if p.err != nil {
			state = "no: " + p.err.Error()
		}
		fmt.Fprintf(out, "%-46s %s\n", p.what, state)
	}
	fmt.Fprintln(out)
	for _, f := range nemesis.Catalogue() {
		state := ""
		if !a.Meets(f.Need) {
			state = "skipped: "
		}
		fmt.Fprintf(out, "%-22s %s%s\n", f.Kind, state, f.About)
	}
}
