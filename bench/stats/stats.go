// Package stats makes few numbers of many: medians, ranges, percentiles and ratios.
//
// The median is what is quoted, since one disturbed run moves a mean but not a median;
// the range is quoted with it, so that nobody trusts the median too much.
package stats

import (
	"math"
	"slices"
	"time"
)

// Spread is the middle and the ends of what several runs measured.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Of returns the spread of values; that of none is zero.
func Of(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return Spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1]}
}

// Percentile is a duration that p of 100 do not exceed, in milliseconds; 0 of none.
func Percentile(durations []time.Duration, p int) float64 {
	if len(durations) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(durations))
	at := (len(sorted)*p + 99) / 100
	return float64(sorted[min(len(sorted), max(1, at))-1]) / float64(time.Millisecond)
}

// Ratios divides each value of a by the one of b in the same place. Where there is
// nothing to divide by, there is no ratio.
func Ratios(a, b []float64) []float64 {
	var ratios []float64
	for i := range min(len(a), len(b)) {
		if b[i] > 0 && a[i] > 0 {
			ratios = append(ratios, a[i]/b[i])
		}
	}
	return ratios
}

// Round keeps so many significant digits, so that figures do not look more exact than
// they are.
func Round(v float64, digits int) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	scale := math.Pow(10, float64(digits)-math.Ceil(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}
