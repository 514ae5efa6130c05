// Package latency counts how long things take, for metrics.
//
// # Purpose
//
// A Histogram has one counter for each of a few dozen ranges of durations. Many goroutines may add to it while others read
// it. The state machine has histograms too, so this package has no clock: whoever adds says how long it took.
//
// # Trade-offs
//
// All histograms have the same bounds, 50 us to two minutes, each half as long again as the one before. So an operator may compare
// any two of them, and a quantile is off by a quarter at most. A reading takes no lock: it may have counted something that
// is not in its sum yet.
package latency
