package checker

import (
	"fmt"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// Verdict is what a check, or a run, comes to.
type Verdict string

// The verdicts.
const (
	Valid   Verdict = "valid"
	Invalid Verdict = "invalid"
	// Unknown: nothing wrong was found, and not enough happened for that to mean anything.
	Unknown Verdict = "unknown"
	// Idle: the history has nothing that the check is about.
	Idle Verdict = "idle"
)

// maxProblems bounds the problems that are reported of one check: the first ones are enough.
const maxProblems = 20

// Result is what one check found.
type Result struct {
	Name    string  `json:"name"`
	About   string  `json:"about"`
	Verdict Verdict `json:"verdict"`
	// Compared is how many things the check looked at.
	Compared int `json:"compared"`
	// Problems are the first ones of Found.
	Problems []string `json:"problems,omitempty"`
	Found    int      `json:"found"`
	// Note is for people.
	Note string `json:"note,omitempty"`
	// Page is the name of a page with more about it, if there is one.
	Page string `json:"page,omitempty"`
}

// problem adds a problem.
func (r *Result) problem(format string, args ...any) {
	r.Found++
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// settle sets the verdict by what was found and compared.
func (r *Result) settle() {
	switch {
	case r.Found > 0:
		r.Verdict = Invalid
	case r.Verdict == Unknown: // the check itself could not come to an end
	case r.Compared == 0:
		r.Verdict = Idle
	default:
		r.Verdict = Valid
	}
}

// Report is what all checks found.
type Report struct {
	Verdict Verdict  `json:"verdict"`
	Results []Result `json:"results"`
	// Counts counts the interesting things that happened.
	Counts Counts `json:"counts"`
}

// check is one check: it adds to r what it compared and what is wrong.
type check struct {
	name, about string
	run         func(v *view, r *Result)
}

// checks is all of them, in the order in which they are reported.
var checks = []check{
	{"S1", "acknowledged submits are on every server, and nothing unexpected", checkPresence},
	{"S2", "one request key, one job", checkKeys},
	{"S3", "one final outcome, equal everywhere", checkOutcomes},
	{"S4", "no result of a fenced attempt", checkFencing},
	{"S5", "fencing tokens are unique and rise", checkTokens},
	{"S6", "serial tasks never overlap", checkSerial},
	{"S7", "no new attempt after a cancel", checkCancels},
	{"S8", "attempts are dense, bounded and backed off", checkAttempts},
	{"S11", "jobs are linearizable", checkRegisters},
	{"S12", "stale reads go forward in a session", checkStale},
	{"S13", "streams without gap, duplicate or reorder", checkStreams},
	{"S14", "one leader a term; term and index never go back", checkLeaders},
	{"S15", "equal digests", checkDigests},
	{"S16", "a wiped server is a new one, and a removed one does not vote", checkMembers},
	{"S17", "a definite failure has no effect", checkFailures},
	{"S18", "nothing damaged is served", checkDamage},
	{"S19", "conservation of jobs and tasks", checkConservation},
	{"S20", "slots and max_parallel are kept", checkLimits},
	{"S21", "no panic, race or unexpected exit", checkProcesses},
	{"S22", "the version of the log rises once all servers know it, and never falls", checkVersions},
	{"S23", "a backup has what was acknowledged, and what is restored gives nothing out again", checkBackups},
	{"L1", "recovery soon after each heal", checkRecovery},
	{"L2", "nothing stuck after the drain", checkDrain},
	{"L3", "a majority serves, a minority does not", checkMajority},
	{"L4", "a lasting fault of a minority does not keep the others busy", checkLivelock},
	{"L5", "what a silent worker held runs elsewhere soon", checkReassignment},
	{"L6", "a full disk is refused and recovered from", checkFullDisks},
	{"L7", "what servers use comes back to what it was", checkUsage},
	{"L8", "what a worker never reports ends soon", checkOverdue},
}

// Check checks a history. An error says that it is no history of a run.
func Check(ops []history.Op) (Report, error) {
	v, err := newView(ops)
	if err != nil {
		return Report{}, err
	}
	var rep Report
	for _, c := range checks {
		r := Result{Name: c.name, About: c.about}
		c.run(v, &r)
		r.settle()
		rep.Results = append(rep.Results, r)
	}
	rep.Counts = v.counts()
	rep.Results = append(rep.Results, vacuity(v, rep.Results, rep.Counts))
	rep.Verdict = sum(rep.Results)
	return rep, nil
}

// sum is the verdict of a run.
func sum(results []Result) Verdict {
	verdict := Valid
	for _, r := range results {
		switch r.Verdict {
		case Invalid:
			return Invalid
		case Unknown:
			verdict = Unknown
		}
	}
	return verdict
}
