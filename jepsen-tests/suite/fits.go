package suite

import "slices"

// unfit has, by fault, the workloads that it teaches nothing about. All others fit.
var unfit = map[string][]string{
	// Their tasks do nothing, so that no worker is ever caught in the middle.
	"worker-kill":       {"register", "idempotent"},
	"worker-pause":      {"register", "idempotent"},
	"partition:workers": {"register", "idempotent"},
	// Nobody could end its tasks where a backup is restored: its workers alone can run them.
	"worker-silent": {"backup"},
	// A restore on a machine whose clock is behind that of the state is refused, and these turn clocks ahead by a year.
	"clock:bump":   {"backup"},
	"clock:strobe": {"backup"},
	// A minority of the servers may be a majority of those that vote.
	"lasting:kill":      {"membership"},
	"lasting:partition": {"membership"},
	"lasting:oneway":    {"membership"},
}

// Fitting returns those of some workloads that are worth running under a fault.
func Fitting(workloads []string, fault string) []string {
	return slices.DeleteFunc(slices.Clone(workloads), func(w string) bool { return slices.Contains(unfit[fault], w) })
}
