package harness

import (
	"context"
	"errors"
)

// Step is one run of the plan.
type Step struct {
	System System
	Load   Load
	// Round counts the rounds from 0, and Pair the pairs: runs of the subjects and of
	// the peer that follows them have the same one.
	Round, Pair int
	// Peer: the system is one that the subjects are compared with.
	Peer bool
}

// Plan returns the runs in their order: in each round, for each peer, the subjects and
// then the peer. Without peers, the subjects alone.
func Plan(subjects, peers []System, rounds int, load func(System) Load) []Step {
	var steps []Step
	pair := 0
	for round := range rounds {
		groups := [][]System{nil}
		if len(peers) > 0 {
			groups = groups[:0]
		}
		for _, p := range peers {
			groups = append(groups, []System{p})
		}
		for _, group := range groups {
			for i, s := range append(append([]System{}, subjects...), group...) {
				steps = append(steps, Step{System: s, Load: load(s), Round: round, Pair: pair, Peer: i >= len(subjects)})
			}
			pair++
		}
	}
	return steps
}

// Outcome is what became of a step.
type Outcome struct {
	Step
	Run
}

// Failure is a step that came to nothing, and why.
type Failure struct {
	Step
	Err error
}

// maxFailures is how often a peer may fail until it is left out of the rest of a plan: once may be bad luck.
const maxFailures = 2

// Execute makes the runs of a plan one after the other, and returns what was measured and what failed. A peer that
// fails does not keep the others from being measured. If a subject fails, a promise was broken or ctx ends, the plan
// ends. progress is told of each run before it begins, and of its measure or its error after.
func Execute(ctx context.Context, steps []Step, o Options, progress func(number int, s Step, run *Run, err error)) (outcomes []Outcome, failures []Failure) {
	failed := map[System]int{}
	for i, step := range steps {
		if failed[step.System] == maxFailures {
			continue
		}
		progress(i, step, nil, nil)
		run, err := Once(ctx, step.System, step.Load, o)
		progress(i, step, &run, err)
		if err == nil {
			outcomes = append(outcomes, Outcome{Step: step, Run: run})
			continue
		}
		failures = append(failures, Failure{step, err})
		if failed[step.System]++; !step.Peer || errors.Is(err, ErrBroken) || ctx.Err() != nil {
			break
		}
	}
	return outcomes, failures
}
