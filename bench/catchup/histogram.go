package catchup

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	applyBucket = `rota_apply_seconds_bucket{le="`
	stateBytes  = "rota_state_db_bytes "
	leads       = "rota_leader "
	term        = "rota_raft_term "
)

// sample is what a server's metrics say at one time.
type sample struct {
	// bounds are those of the buckets, seconds; counts is how many batches were applied no
	// slower than each.
	bounds []float64
	counts []uint64
	// state is the size of state.db, bytes; leads says that the server leads, in term.
	state, term float64
	leads       bool
}

// parse reads what a server says.
func parse(metrics string) (sample, error) {
	var s sample
	for line := range strings.Lines(metrics) {
		line = strings.TrimSpace(line)
		for name, into := range map[string]*float64{stateBytes: &s.state, term: &s.term} {
			if rest, ok := strings.CutPrefix(line, name); ok {
				var err error
				if *into, err = strconv.ParseFloat(rest, 64); err != nil {
					return s, fmt.Errorf("%s: %w", name, err)
				}
			}
		}
		s.leads = s.leads || line == leads+"1"
		rest, ok := strings.CutPrefix(line, applyBucket)
		bound, count, whole := strings.Cut(rest, `"} `)
		if !ok || !whole {
			continue
		}
		b, err := strconv.ParseFloat(bound, 64) // +Inf too
		n, err2 := strconv.ParseUint(count, 10, 64)
		if err := errors.Join(err, err2); err != nil {
			return s, fmt.Errorf("how long Apply took: %q: %w", line, err)
		}
		s.bounds, s.counts = append(s.bounds, b), append(s.counts, n)
	}
	if len(s.bounds) == 0 || s.state == 0 {
		return s, errors.New("the server does not say how long Apply took, or how large its state is: it is of another version")
	}
	return s, nil
}

// since is what was applied between two samples.
func (s sample) since(before sample) sample {
	out := sample{bounds: s.bounds, counts: slices.Clone(s.counts), state: s.state, term: s.term, leads: s.leads}
	for i := range out.counts {
		if i < len(before.counts) {
			out.counts[i] -= before.counts[i]
		}
	}
	return out
}

func (s sample) total() uint64 { return s.counts[len(s.counts)-1] }

// quantile is about how long p of 100 took at most, milliseconds. Between the bounds of a bucket, all count as
// evenly spread.
func (s sample) quantile(p float64) float64 {
	if s.total() == 0 {
		return 0
	}
	rank := p / 100 * float64(s.total())
	at := slices.IndexFunc(s.counts, func(n uint64) bool { return float64(n) >= rank })
	low, below := 0.0, 0.0
	if at > 0 {
		low, below = s.bounds[at-1], float64(s.counts[at-1])
	}
	if math.IsInf(s.bounds[at], 1) {
		return 1e3 * low
	}
	return 1e3 * (low + (s.bounds[at]-low)*(rank-below)/(float64(s.counts[at])-below))
}
