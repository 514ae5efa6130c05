package harness

import "context"

// Step is one run of the plan.
type Step struct {
	System System
	Load   Load
	// Round counts the rounds from 0, and Pair the pairs: runs of the subjects and of
	// the peer that follows them have the same one.
	Round, Pair int
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
			for _, s := range append(append([]System{}, subjects...), group...) {
				steps = append(steps, Step{System: s, Load: load(s), Round: round, Pair: pair})
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

// Execute makes the runs of a plan one after the other. progress is told of each
// before it begins, and of its measure after.
func Execute(ctx context.Context, steps []Step, o Options, progress func(number int, s Step, run *Run)) ([]Outcome, error) {
	var outcomes []Outcome
	for i, step := range steps {
		progress(i, step, nil)
		run, err := Once(ctx, step.System, step.Load, o)
		if err != nil {
			return outcomes, err
		}
		progress(i, step, &run)
		outcomes = append(outcomes, Outcome{Step: step, Run: run})
	}
	return outcomes, nil
}
